"""A whole station in virtual time: the real supervisor, orchestrator, legs, mixer and handlers on fake room and cards.

`Story` is what tests and simulations tell: it holds the pieces, lets time pass, and remembers every log line.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import pytest
import structlog

from appliance.leg import Losses
from appliance.network import capture
from appliance.network.entrance import Entrance
from appliance.network.servertime import ServerTime
from appliance.network.token import token_source
from appliance.orchestrator import AudioClientOrchestrator, audio_config, treatment
from appliance.ports import AudioBackend, BlockingCalls, Clock, Session, SessionFactory
from appliance.settings.changes import changes
from appliance.settings.model import Settings
from appliance.supervisor import State, Supervisor
from tests.fakes.backend import FakeBackend, usb_card
from tests.fakes.room import URL, FakeServer
from tests.fakes.worker import InlineWorker
from tests.harness.vtime import LoopClock

TICK_S: Final = 0.01  # of sound cards that are called as often as real ones
BEAT_S: Final = 0.25  # of slow ones: more than twice in the time after which a silent card is lost
POLL_S: Final = 0.02

LIVEKIT: Final = {"url": URL, "api_key": "devkey", "api_secret": "not-a-secret-but-long-enough-for-hs256"}


def make_settings(**more: Any) -> Settings:
    """A station named kitchen on the fake server."""
    return Settings.model_validate({"identity": "kitchen", "livekit": LIVEKIT, **more})


def new_sessions(server: FakeServer, backend: AudioBackend, worker: BlockingCalls, clock: Clock) -> SessionFactory:
    """As `app.Sessions`, on fakes: with the real entrance, tokens and server time."""
    time, losses = ServerTime(clock), Losses()

    async def new_session(settings: Settings, on_change: Callable[[], None]) -> Session:
        tokens = Entrance(token_source(settings, time), url=settings.livekit.url, knock=server.knock, time=time)
        grant = await tokens.grant()
        return AudioClientOrchestrator(
            grant.url,
            grant.token,
            audio_config(settings),
            backend=backend,
            new_room=server.new_room,
            knock=server.knock,
            worker=worker,
            clock=clock,
            volumes=settings.audio.volumes,
            treated=treatment(settings),
            tolerant=True,
            connect_s=settings.livekit.connect_timeout_s,
            device_retry_s=settings.supervisor.device_retry_s,
            losses=losses,
            on_change=on_change,
            on_rejected=tokens.invalidate,
        )

    return new_session


@contextlib.contextmanager
def slow_sound() -> Iterator[None]:
    """The capture pump's clock, slowed down to one frame each beat, as the cards are by `FakeBackend.beat`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(capture, "FRAME_S", BEAT_S)
        patch.setattr(capture, "QUIET_S", 2 * BEAT_S + 0.1)
        yield


class Story:
    """One station's life. Use `async with Story() as story:` inside `run_jumping`.

    Its sound is slow: one block each `BEAT_S`, so that hours pass in a moment; with `every_block` it is as it is.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        seed: int = 1,
        cards: tuple[str, ...] = ("Device",),
        every_block: bool = False,
    ) -> None:
        self.settings = settings or make_settings()
        self.server = FakeServer()
        self.backend = FakeBackend([usb_card(card) for card in cards])
        self.clock = LoopClock()
        self.states: list[State] = []
        self.lines: list[dict[str, Any]] = []
        self.supervisor = Supervisor(
            settings=self.settings,
            new_session=new_sessions(self.server, self.backend, InlineWorker(), self.clock),
            clock=self.clock,
            rng=random.Random(seed),
            on_state=lambda state, _why: self.states.append(state),
        )
        self._every_block = every_block
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Story:
        self._stack.enter_context(structlog.testing.capture_logs(processors=[self._hear]))
        if not self._every_block:
            self._stack.enter_context(slow_sound())
        await self._stack.enter_async_context(self._ticking())
        await self._stack.enter_async_context(self._supervised())
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def until(self, condition: Callable[[], object], within_s: float, what: str) -> None:
        """Let virtual time pass until `condition` holds."""
        end_s = self.clock.monotonic() + within_s
        while not condition():
            assert self.clock.monotonic() < end_s, f"{what}: not within {within_s:g} s; {self.told()}"
            await asyncio.sleep(POLL_S)

    async def until_state(self, state: State, within_s: float) -> None:
        await self.until(lambda: self.supervisor.state is state, within_s, f"waited for {state}")

    async def passes(self, seconds: float) -> None:
        """Let virtual time pass."""
        await asyncio.sleep(seconds)

    def apply(self, **more: Any) -> None:
        """As if alto.yaml had been saved with these sections."""
        fresh = make_settings(**more)
        what = changes(self.supervisor.settings, fresh)
        self.supervisor.apply(fresh, what)

    def events(self, *names: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] in names]

    def told(self) -> str:
        """The log as a readable story."""
        return "\n".join(
            f"{line['log_level']:7} {line['event']} "
            + " ".join(f"{k}={v}" for k, v in line.items() if k not in ("event", "log_level"))
            for line in self.lines
        )

    # ---- inside

    def _hear(self, _logger: object, level: str, line: Any) -> Any:
        self.lines.append({**line, "log_level": level})
        raise structlog.DropEvent

    @contextlib.asynccontextmanager
    async def _ticking(self) -> AsyncIterator[None]:
        """The sound cards' clock."""
        loop = asyncio.get_running_loop()

        def tick() -> None:
            if self._every_block:
                self.backend.advance(TICK_S)
            else:
                self.backend.beat()
            self._next_tick = loop.call_later(tick_s, tick)

        tick_s = TICK_S if self._every_block else BEAT_S
        self._next_tick = loop.call_later(tick_s, tick)
        try:
            yield
        finally:
            self._next_tick.cancel()

    @contextlib.asynccontextmanager
    async def _supervised(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.supervisor.run(), name="supervisor")
        try:
            yield
        finally:
            self.supervisor.stop()
            await asyncio.wait_for(task, 5.0)
            assert not self.server.sessions(), "a session was left in the room"
            assert not self.backend.streams, "a sound device was left open"
