"""The comings and goings of the room as a log tells them: one line down and one line up for each outage."""

from __future__ import annotations

from typing import Final

import structlog

from appliance.errors import AltoError
from appliance.ports import Clock, Session
from appliance.settings.model import Settings

log = structlog.get_logger()

STABLE_S: Final = 10.0  # longer than a server needs to throw out somebody whom it just let in
ON_PURPOSE: Final = ("stopped", "config_changed")  # somebody wanted it: no reason to worry whoever reads the log


class Outages:
    """Whatever lies between two stays in the room is one outage, however many tries it took. Loop thread only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._trouble_since = clock.monotonic()
        self._down_since: float | None = None
        self._up_since: float | None = None
        self._retry_said = ""

    @property
    def is_down(self) -> bool:
        """Whether a stay was told to be over and no new one has begun."""
        return self._down_since is not None

    def age_s(self) -> float:
        """For how long the trouble has lasted: since the last stay that was stable, or since the start."""
        return self._clock.monotonic() - self._trouble_since

    def stay_s(self) -> float:
        """How long the present session has lasted; 0.0 without one."""
        return 0.0 if self._up_since is None else self._clock.monotonic() - self._up_since

    def joined(self, settings: Settings, session: Session | None, *, took_s: float) -> None:
        """A new session is in the room."""
        self._up_since = self._clock.monotonic()
        self._say_up(settings, session, took_s=took_s, resumed=False)

    def mended(self, settings: Settings, session: Session) -> None:
        """The session that was broken works again."""
        if self._down_since is not None:
            took_s = self._clock.monotonic() - self._down_since
            self._say_up(settings, session, took_s=took_s, resumed=True)

    def lost(self, reason: str, detail: str) -> None:
        """The stay is over, or broken. Told once: what follows until the room is back is the same outage."""
        if self._down_since is not None or self._up_since is None:
            return
        self._down_since = self._clock.monotonic()
        if self.stay_s() > STABLE_S:  # else the stay was but a part of the same trouble
            self._trouble_since = self._down_since
        say = log.info if reason in ON_PURPOSE else log.warning
        say("room.disconnected", reason=reason, detail=detail, session_s=round(self.stay_s(), 3))

    def left(self) -> None:
        """The session is gone, for whatever reason."""
        self._up_since = None

    def retrying(self, pause_s: float, error: AltoError, *, attempt: int) -> None:
        """The next try comes after `pause_s`. The first for a reason is news, its repeats are not."""
        news = error.reason != self._retry_said
        self._retry_said = error.reason
        say = log.warning if news else log.debug
        say(
            "room.retry",
            in_s=round(pause_s, 3),
            attempt=attempt,
            reason=error.reason,
            detail=error.message,
            fix=error.fix,
        )

    def _say_up(self, settings: Settings, session: Session | None, *, took_s: float, resumed: bool) -> None:
        now = self._clock.monotonic()
        outage_s = None if self._down_since is None else round(now - self._down_since, 3)
        self._down_since, self._retry_said = None, ""
        log.info(
            "room.connected",
            room=settings.room,
            url=settings.livekit.url,
            participants=len(session.participants) if session else 0,
            took_s=round(took_s, 3),
            resumed=resumed,
            outage_s=outage_s,
        )
