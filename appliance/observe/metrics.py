"""The periodic figures: asked from the parts, joined by the process's own, logged as one event."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from appliance.observe.pauses import GcPauses
from appliance.observe.process import ProcessReading, cpu_ratio, read_process
from appliance.observe.spans import Figures, Spans
from appliance.observe.values import error_text
from appliance.ports import Clock, Metrics

log = structlog.get_logger()

BEAT_S: Final = (
    0.1  # how finely lateness of the loop is seen; ten wake-ups a second cost nothing beside the audio's 100
)
FRESH_S: Final = 1.0  # a processor share over less than a second jumps about
SAME_LOOK_S: Final = 0.03  # two looks closer than three blocks are one: a level over less says nothing


class MetricsReporter:
    """Logs `metrics` every `interval_s`, the first after one interval. Loop thread only.

    `source` may change while it runs (a new session); `lines_dropped` tells how many log lines were lost.
    """

    def __init__(
        self,
        *,
        source: Metrics,
        interval_s: float,
        clock: Clock,
        lines_dropped: Callable[[], int] = lambda: 0,
        read: Callable[[float], ProcessReading] = read_process,
    ) -> None:
        self.source = source
        self._interval_s = interval_s
        self._clock = clock
        self._lines_dropped = lines_dropped
        self._read = read
        self._started_at = clock.monotonic()
        self._logged = self._looked = self._shown = read(self._started_at)
        self._spans = Spans(self._started_at)
        self._scraped = Spans(self._started_at)
        self._last_look: tuple[float, Figures] = (float("-inf"), {})
        self._lag_s_max = 0.0
        self._pauses = GcPauses()
        self._changed = asyncio.Event()
        self._source_fails = False

    def set_interval(self, interval_s: float) -> None:
        """Log this often from now on."""
        self._interval_s = interval_s
        self._changed.set()

    def sample(self) -> Figures:
        """The figures of this moment, for `alto status`. Cheap; leaves those of the next line as they are."""
        now = self._clock.monotonic()
        looked_at, sections = self._last_look
        if now - looked_at >= SAME_LOOK_S:
            sections = self._sections()
            self._spans.add(sections, now)
            self._scraped.add(sections, now)
            self._last_look = (now, sections)
        return sections | {"process": self._recent(now)}

    def scrape(self) -> Figures:
        """The same for Prometheus: what counts since the look before counts since the scrape before, whoever else
        looked meanwhile."""
        now = self._clock.monotonic()
        sections = self._sections()
        self._spans.add(sections, now)
        return self._scraped.joined(sections, now) | {"process": self._recent(now)}

    async def run(self) -> None:
        """Log for ever; ends by cancellation. Never raises otherwise."""
        beat = asyncio.create_task(self._watch_lag(), name="loop-lag")
        self._pauses.start()
        try:
            due = self._clock.monotonic() + self._interval_s
            while True:
                if await self._interval_changed(due - self._clock.monotonic()):
                    due = self._clock.monotonic() + self._interval_s
                    continue
                self._log()
                due = max(due + self._interval_s, self._clock.monotonic())  # a late line does not shift the others
        finally:
            self._pauses.stop()
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)

    def _log(self) -> None:
        now = self._clock.monotonic()
        reading = self._read(now)
        look = self._sections()
        self._scraped.add(look, now)
        sections = self._spans.joined(look, now)
        log.info("metrics", **sections, process=self._process(self._logged, reading, now))
        self._logged = reading
        self._lag_s_max = 0.0
        self._pauses.take_longest_s()

    async def _interval_changed(self, patience_s: float) -> bool:
        """Wait; True when the interval was changed before the time was over."""
        with contextlib.suppress(TimeoutError):
            # Not wait_for: Python 3.11's loses a cancellation that comes as the wait ends.
            async with asyncio.timeout(max(patience_s, 0.001)):
                await self._changed.wait()
        changed = self._changed.is_set()
        self._changed.clear()
        return changed

    async def _watch_lag(self) -> None:
        while True:
            due = self._clock.monotonic() + BEAT_S
            await asyncio.sleep(BEAT_S)
            self._lag_s_max = max(self._lag_s_max, self._clock.monotonic() - due)

    def _sections(self) -> Figures:
        try:
            sections = {name: dict(figures) for name, figures in self.source.get_metrics().items()}
        except Exception as error:  # figures are never worth a call
            if not self._source_fails:
                log.error("metrics.failed", error=error_text(error), exc_info=error)
            self._source_fails = True
            return {}
        self._source_fails = False
        return sections

    def _recent(self, now: float) -> dict[str, object]:
        if now - self._shown.at >= FRESH_S:
            self._looked, self._shown = self._shown, self._read(now)
        return self._process(self._looked, self._shown, now)

    def _process(self, before: ProcessReading, after: ProcessReading, now: float) -> dict[str, object]:
        return {
            "cpu_ratio": cpu_ratio(before, after),
            "rss_bytes": after.rss_bytes,
            "threads": after.threads,
            "fds": after.fds,
            "uptime_s": round(now - self._started_at, 1),
            "loop_lag_ms_max": round(self._lag_s_max * 1000, 1),
            "gc_ms_max": round(self._pauses.longest_s * 1000, 1),
            "gc_stalls": self._pauses.stalls,
            "log_lines_dropped": self._lines_dropped(),
        }


class NoMetrics:
    """Stands in while there is no session."""

    def get_metrics(self) -> Mapping[str, Mapping[str, object]]:
        """No sections."""
        return {}
