"""What a running station says of itself on its status socket, from the supervisor, the reloader and the figures."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from appliance import __version__
from appliance.audio.recorder import AudioRecorder, TapPoint
from appliance.errors import AltoError
from appliance.network.token import end_of_ready_token
from appliance.observe.status import LegStatus, Person, StatusReport, Trouble
from appliance.orchestrator import AudioClientOrchestrator
from appliance.ports import Clock, LegReport
from appliance.reload import Reloader
from appliance.supervisor import Supervisor

KEPT_ERRORS: Final = 5  # what a person reads; the journal has them all

SOURCES: Final = ("mix", "microphone", "both")


class NothingToRecord(AltoError):
    """There is no call to listen to, or no such source."""

    reason = "nothing_to_record"


class StationReport:
    """`observe.status.StatusProvider`, `TapFactory` and `ports.Metrics` of one station. Loop thread only."""

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        clock: Clock,
        sample: Callable[[], Mapping[str, object]],
        watchdog_bit: bool = False,
    ) -> None:
        self.reloader: Reloader | None = None
        self._watchdog_bit = watchdog_bit
        self._supervisor = supervisor
        self._clock = clock
        self._sample = sample
        self._started_at = clock.monotonic()
        self._errors: deque[Trouble] = deque(maxlen=KEPT_ERRORS)
        self._noted: AltoError | None = None

    def note_error(self) -> None:
        """Remember the supervisor's last error, once; called on each change of state."""
        error = self._supervisor.last_error
        if error is None or error is self._noted:
            return
        self._noted = error
        self._errors.appendleft(
            Trouble(at=self._clock.time(), reason=error.reason, detail=error.message, fix=error.fix)
        )

    def status(self, figures: Mapping[str, object] | None = None) -> StatusReport:
        """How the station is doing now; with these figures, or those of this moment."""
        supervisor, settings, now = self._supervisor, self._supervisor.settings, self._clock.monotonic()
        session = supervisor.session
        metrics = self._sample() if figures is None else figures
        report = StatusReport(
            state=supervisor.state.value,
            reason=supervisor.reason,
            detail=supervisor.detail,
            fix=self._fix(),
            since_s=round(now - supervisor.since, 1),
            retry_in_s=supervisor.retry_in_s(),
            attempt=supervisor.attempt,
            identity=settings.identity,
            name=settings.name or settings.identity,
            room=settings.room,
            url=settings.livekit.url,
            version=__version__,
            pid=os.getpid(),
            uptime_s=round(now - self._started_at, 1),
            legs={leg.value: _leg(one) for leg, one in session.legs.items()} if session else {},
            participants=_people(session.participants, session.parked, metrics) if session else [],
            metrics=metrics,  # type: ignore[typeddict-item]  # sections of figures, as EVENTS.md lists them
            errors=list(self._errors),
            clock_s=self._clock.time(),
            watchdog_bit=self._watchdog_bit,
        )
        token_ends_at = end_of_ready_token(settings.livekit)
        if token_ends_at is not None:
            report["token_ends_at"] = token_ends_at
        if self.reloader is not None:
            report["config_file"] = str(self.reloader.loaded.path)
            report["config_warnings"] = [str(warning) for warning in self.reloader.loaded.warnings]
            report["config_problems"] = [str(problem) for problem in self.reloader.problems]
            if self.reloader.loaded.kept_at is not None:
                report["config_kept_at"] = self.reloader.loaded.kept_at
        return report

    def get_metrics(self) -> Mapping[str, Mapping[str, object]]:
        """The session's figures; while there is none, only that there is none."""
        session = self._supervisor.session
        return session.get_metrics() if session is not None else {"network": {"state": "offline", "participants": 0}}

    def tap(self, source: str, seconds: float) -> Recording:
        """Begin to record. Raises NothingToRecord."""
        session = self._supervisor.session
        if source not in SOURCES:
            raise NothingToRecord(f"unknown source {source!r}", fix=f"use one of {', '.join(SOURCES)}")
        if not isinstance(session, AudioClientOrchestrator):
            raise NothingToRecord("the station is not in a call", fix="see alto status for the reason")
        points: dict[str, list[TapPoint]] = {
            "mix": [session.mixer],
            "microphone": [session.microphone],
            "both": [session.microphone, session.mixer],
        }
        return Recording(points[source], session.config.sample_rate, seconds)

    def _fix(self) -> str:
        error = self._supervisor.last_error
        return error.fix if error is not None and error.message in self._supervisor.detail else ""


class Recording:
    """`observe.status.Tap`: PCM of one recording."""

    def __init__(self, points: list[TapPoint], rate_hz: int, seconds: float) -> None:
        self.rate_hz = rate_hz
        self.channels = len(points)
        self._blocks = AudioRecorder(rate_hz=rate_hz).chunks(points, seconds)
        self._closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Little-endian int16, interleaved, until the seconds are over or `close`."""
        try:
            async for block in self._blocks:
                if self._closed:
                    return
                yield block.astype("<i2", copy=False).tobytes()
        finally:
            await self._blocks.aclose()

    def close(self) -> None:
        """End it; idempotent."""
        self._closed = True


def _leg(report: LegReport) -> LegStatus:
    error = report.error
    reason, detail, fix = (error.reason, error.message, error.fix) if isinstance(error, AltoError) else ("", "", "")
    return LegStatus(state=report.state.value, device=report.device, reason=reason, detail=detail, fix=fix)


def _people(identities: tuple[str, ...], parked: tuple[str, ...], metrics: Mapping[str, object]) -> list[Person]:
    mixer = metrics.get("mixer")
    streams = mixer.get("per_stream") if isinstance(mixer, Mapping) else None
    voices: Mapping[str, Mapping[str, float]] = streams if isinstance(streams, Mapping) else {}
    people = []
    for identity in identities:
        voice = voices.get(identity, {})
        people.append(
            Person(
                identity=identity,
                level_dbfs=voice.get("level_dbfs"),
                volume=voice.get("volume", 1.0),
                buffer_ms=voice.get("buffer_ms"),
                parked=identity in parked,
            )
        )
    return people
