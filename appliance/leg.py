"""One leg of the audio path through its life: opened, watched, lost, tried again, back.

The room does not know of it: while a leg is away the other direction and the session go on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from appliance.audio.cards import last_plugged_ns
from appliance.audio.reserve import Reserve
from appliance.errors import AltoError, AudioError, DeviceLost
from appliance.ports import AudioStream, BlockingCalls, Clock, Leg, LegReport, LegState

log = structlog.get_logger()

SILENT_S: Final = 0.6  # the longest block is 50 ms and PulseAudio may bunch 200 ms: three times that is no hiccup
STALLED_S: Final = 0.15  # three of the longest blocks; who only bunches them is in real time again with the next one
LATE_S: Final = 0.5  # twice the supervisor's interval: who looks that late was kept waiting himself, as the device was
SETTLE_S: Final = 0.2  # from a card's plugging in until udev has given its group the right to open it
OPEN_S: Final = 4.0  # three tries of a second each to start, and the list of devices; more is a driver that hangs
CLOSE_S: Final = 0.8  # stop() of a pulled card returns at once (measured); a hung driver must not hold up the exit


@dataclass(frozen=True, slots=True)
class Loss:
    """A leg's outage: since when (monotonic seconds), and the last reason that was told."""

    since_s: float
    reason: str


Losses = dict[Leg, Loss]
"""The legs that are lost now. It outlives a session, so that an outage is told once, however often the room is joined
anew meanwhile."""


Reserves = dict[Leg, Reserve]
"""What was learned of each leg's device. It outlives a session too."""


class Handler(Protocol):
    """`AudioInputHandler` or `AudioOutputHandler`. `open` and `close` block: on the device worker only."""

    latency_times: int

    def open(self) -> None: ...

    def close(self) -> None: ...

    @property
    def device(self) -> str: ...

    @property
    def stream(self) -> AudioStream | None: ...

    @property
    def last_block_at(self) -> float | None: ...

    @property
    def latency_s(self) -> float: ...

    @property
    def accidents(self) -> int: ...


class AudioLeg:
    """Loop thread only; the blocking parts run on the worker."""

    def __init__(
        self,
        leg: Leg,
        handler: Handler,
        *,
        enabled: bool,
        worker: BlockingCalls,
        clock: Clock,
        retry_s: float,
        on_change: Callable[[], None],
        losses: Losses | None = None,
        reserves: Reserves | None = None,
        last_plugged: Callable[[], int] = last_plugged_ns,
    ) -> None:
        """`losses`, `reserves`: those of the session before; changed by this one. None: it remembers for itself.
        `last_plugged`: another number after each card that came or went; quick, asked on the loop."""
        self.leg = leg
        self.handler = handler
        self.retry_s = retry_s
        self._enabled = enabled
        self._worker = worker
        self._clock = clock
        self._on_change = on_change
        self._state = LegState.MISSING if enabled else LegState.OFF
        self._error: AltoError | None = None
        self._watched_since = 0.0
        self._looked_at = 0.0
        self._losses: Losses = {} if losses is None else losses
        self._reserve = ({} if reserves is None else reserves).setdefault(leg, Reserve())
        if not enabled:
            self._losses.pop(leg, None)  # whoever switches it on again asks for something new
        self._try_at = 0.0
        self._last_plugged = last_plugged
        self._plugged_when_tried = last_plugged()
        self._job: asyncio.Task[None] | None = None
        self._opening: asyncio.Future[None] | None = None
        self._outdated = False
        self._switching = False
        self._begun = False
        self._closed = False

    @property
    def report(self) -> LegReport:
        """How the leg is doing now; while it changes devices, as before."""
        state = LegState.OK if self._switching else self._state
        return LegReport(state, self.handler.device, self._error)

    async def open(self) -> None:
        """Open now. Raises AudioError. Does nothing when the leg is off."""
        self._begun = True
        if self._state is not LegState.MISSING or self._closed:
            return
        if self._opening is None:
            self._outdated = False
            self._plugged_when_tried = self._last_plugged()
            self.handler.latency_times = self._reserve.times
            self._opening = self._worker.submit(self.handler.open)
        await asyncio.wait({self._opening}, timeout=OPEN_S)
        self._take_up()

    async def open_or_wait(self) -> None:
        """Open now, or let `tend` try again later."""
        with contextlib.suppress(AudioError):  # told and remembered by _lose
            await self.open()

    def tend(self) -> None:
        """Notice callbacks that stopped; start the next try when it is due. Returns at once."""
        now = self._clock.monotonic()
        if now - self._looked_at > LATE_S:  # a machine that stood still says nothing about its sound card
            self._watched_since = now
        self._looked_at = now
        if self._busy or self._closed or self._hangs:
            return
        if self._state is LegState.OK and self._outdated:
            self._start(self._reopen())
        elif self._state is LegState.OK and (what := self._fault(now)):
            fix = "is it plugged in? alto takes it up again by itself"
            self._lose(DeviceLost(f"{self.leg} device {self.handler.device!r} {what}", fix=fix))
            self._start(self._close_handler())
        elif self._state is LegState.OK and self._reserve.look(self.handler.accidents, now):
            self._hold_more()
        elif self._state is LegState.MISSING:
            if self._last_plugged() != self._plugged_when_tried:
                self._plugged_when_tried = self._last_plugged()
                self._try_at = min(self._try_at, now + SETTLE_S)
            if now >= self._try_at:
                self._start(self.open_or_wait())

    def reopen(self) -> None:
        """The device settings changed: close what is open and open what is wanted now. Nothing before `open()`, which
        takes the new settings anyway."""
        if self._closed or not self._begun or self._state is LegState.OFF:
            return
        self._reserve.begin_anew()
        if self._hangs:
            self._outdated = True  # two calls in one driver at a time would be one too many
        else:
            self._start(self._reopen())

    async def close(self) -> None:
        """Free the device; idempotent, bounded."""
        self._closed = True
        if self._job is not None:
            self._job.cancel()
            await asyncio.gather(self._job, return_exceptions=True)
        if self._opening is not None:  # what comes open late would hold the device for ever
            self._opening.add_done_callback(self._close_late)
        await self._close_handler()

    # ---- inside ----

    def _close_late(self, opened: asyncio.Future[None]) -> None:
        if opened.cancelled() or opened.exception() is None:
            self._worker.submit(self.handler.close)

    @property
    def _hangs(self) -> bool:
        """Whether a try to open is inside the driver."""
        return self._opening is not None and not self._opening.done()

    def _take_up(self) -> None:
        """What became of the try to open. Raises AudioError."""
        opening = self._opening
        if opening is None:
            return
        try:
            if not opening.done():
                fix = "wait half a minute: alto then starts itself afresh; or plug it in again"
                raise DeviceLost(f"{self.leg} device {self.handler.device!r}: its driver does not answer", fix=fix)
            self._opening = None
            opening.result()
        except AltoError as error:
            self._lose(error)
            raise
        self._found()

    @property
    def _busy(self) -> bool:
        return self._job is not None and not self._job.done()

    def _start(self, job: Coroutine[object, object, None]) -> None:
        before = self._job

        async def after_the_one_before() -> None:
            if before is not None:
                await asyncio.gather(before, return_exceptions=True)
            await job

        self._job = asyncio.create_task(after_the_one_before(), name=f"leg-{self.leg}")

    async def _reopen(self) -> None:
        await self._close_handler()
        if self._state is LegState.OK:
            self._state, self._switching = LegState.MISSING, True
        await self.open_or_wait()

    def _hold_more(self) -> None:
        """The device runs dry again and again: have it hold more, unless alto.yaml says how much."""
        before_s, self.handler.latency_times = self.handler.latency_s, self._reserve.times
        before_ms, latency_ms = round(1000 * before_s, 1), round(1000 * self.handler.latency_s, 1)
        named = latency_ms == before_ms
        key = f"audio.{self.leg}.latency_ms"
        fix = (
            f"raise {key}, or leave it away: alto then finds it"
            if named
            else f"to begin with it: {key}: {latency_ms:g}"
        )
        log.warning(
            "audio.ran_dry",
            leg=self.leg,
            device=self.handler.device,
            before_ms=before_ms,
            latency_ms=latency_ms,
            fix=fix,
        )
        if not named:
            self._start(self._reopen())

    async def _close_handler(self) -> None:
        device, closing = self.handler.device, self._worker.submit(self.handler.close)
        done, _ = await asyncio.wait({closing}, timeout=CLOSE_S)  # not wait_for: it would drop a call that must be made
        if not done:
            log.warning("audio.close_stuck", leg=self.leg, device=device)

    def _fault(self, now: float) -> str:
        """What is wrong with the open device; empty: nothing. Has the thread of one that stalls stand back, so that the
        next look can tell."""
        stream = self.handler.stream
        silent_s = now - max(self.handler.last_block_at or 0.0, self._watched_since)
        if stream is not None and stream.gone:
            return "was pulled out"
        if stream is not None and silent_s > STALLED_S:
            stream.stand_back()
        return "stopped delivering" if silent_s > SILENT_S else ""

    def _found(self) -> None:
        now = self._clock.monotonic()
        self._reserve.opened(self.handler.accidents)
        self._state, self._error, self._watched_since, self._switching = LegState.OK, None, now, False
        loss = self._losses.pop(self.leg, None)
        if loss is not None:
            outage_s = round(now - loss.since_s, 3)
            log.info("audio.recovered", leg=self.leg, device=self.handler.device, outage_s=outage_s)
        else:
            stream = self.handler.stream
            log.info(
                "audio.opened",
                leg=self.leg,
                device=self.handler.device,
                rate_hz=stream.rate_hz if stream else 0,
                channels=stream.channels if stream else 0,
                latency_ms=round(stream.latency_s * 1000, 1) if stream else 0.0,
            )
        self._on_change()

    def _lose(self, error: AltoError) -> None:
        """Once an outage at warning; what follows until it is back is the same outage, told again only if the cause
        changed."""
        now = self._clock.monotonic()
        loss = self._losses.get(self.leg)
        if loss is None:
            log.warning(
                "audio.lost",
                leg=self.leg,
                device=self.handler.device,
                reason=error.reason,
                detail=error.message,
                fix=error.fix,
            )
        elif loss.reason != error.reason:
            log.info("audio.still_lost", leg=self.leg, reason=error.reason, detail=error.message, fix=error.fix)
        self._losses[self.leg] = Loss(now if loss is None else loss.since_s, error.reason)
        self._state, self._error, self._switching = LegState.MISSING, error, False
        self._try_at = now + self.retry_s
        self._on_change()
