"""What time it is where tokens are judged. Many boards have no clock of their own and wake up in 1970."""

from __future__ import annotations

from typing import Final

import structlog

from appliance.clock import EARLIEST_S
from appliance.network import explain
from appliance.ports import Clock

log = structlog.get_logger()

TOLERATED_S: Final = 60.0  # the server's Date has whole seconds, and tokens made here begin that much before now


class ServerTime:
    """A clock whose `time()` is the server's when this device's is off by more than a minute (`ports.Clock`).

    The server's time is kept against the monotonic clock, so that a jump of the wall clock changes nothing. Loop
    thread only.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_of_monotonic_s: float | None = None
        self._told_s = 0.0
        self._told_never_set = False

    def monotonic(self) -> float:
        """This device's."""
        return self._clock.monotonic()

    def time(self) -> float:
        """Seconds since 1970."""
        return self._clock.time() + self.offset_s()

    def offset_s(self) -> float:
        """How far the server's clock is ahead of this device's; 0.0 when that is tolerated, or not known."""
        if self._ahead_of_monotonic_s is None:
            return 0.0
        offset_s = self._ahead_of_monotonic_s + self._clock.monotonic() - self._clock.time()
        return offset_s if abs(offset_s) > TOLERATED_S else 0.0

    def note(self, server_time: float | None) -> None:
        """Take the time from an answer of the server's; None, when it tells no time, changes nothing."""
        if server_time is not None:
            self._ahead_of_monotonic_s = server_time - self._clock.monotonic()
            self.look()

    def look(self) -> None:
        """Tell of a clock that went wrong, or right, since the last look."""
        offset_s = self.offset_s()
        if offset_s == 0.0 and self._clock.time() < EARLIEST_S:
            self._tell_never_set()
            return
        right_again = offset_s == 0.0 and self._told_never_set
        if abs(offset_s - self._told_s) <= TOLERATED_S and not right_again:
            return
        self._told_s = offset_s
        if offset_s == 0.0:
            self._told_never_set = False
            log.info("clock.set")
        else:
            log.warning(
                "clock.wrong",
                offset_s=round(offset_s),
                detail=f"this device's clock is {_span(offset_s)} the server's; tokens follow the server's",
                fix=_FIX,
            )

    def _tell_never_set(self) -> None:
        """Nobody has told the time yet: neither this device's clock nor a server."""
        if not self._told_never_set:
            self._told_never_set = True
            log.warning(
                "clock.not_set", detail="this device's clock was never set: the times in its log are wrong", fix=_FIX
            )


_FIX: Final = "let this device set its clock by NTP (timedatectl), or correct the server's"


def _span(offset_s: float) -> str:
    return f"{explain.span(abs(offset_s))} {'behind' if offset_s > 0 else 'ahead of'}"
