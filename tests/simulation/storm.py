"""A storm: hundreds of stations lose their server in the same moment, and all of them want back.

Each is a real supervisor with a real session on one virtual loop and one fake server. They only listen and have no
sound cards: what a server feels are questions and joins.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from appliance.errors import Unreachable
from appliance.ports import Answer as Presence
from appliance.supervisor import State, Supervisor
from tests.fakes.backend import FakeBackend
from tests.fakes.room import Answer, FakeRoom, FakeServer
from tests.fakes.worker import InlineWorker
from tests.harness.story import make_settings, new_sessions
from tests.harness.vtime import JumpingLoop, LoopClock

BIN_S: Final = 0.25
BAR: Final = 60  # columns of the longest bar
STEP_S: Final = 0.05
STABLE_S: Final = 11.0  # all online for so long before the storm: longer than supervisor.STABLE_S
BEGINNING_S: Final = 30.0  # the SDK gives up after 20
END_S: Final = 15.0  # three times the longest pause
NO_CARDS: Final = {"input": {"enabled": False}, "output": {"enabled": False}}


class CountingServer(FakeServer):
    """Notes when it was asked and joined; takes `joins_a_second` at most and answers 503 to the others."""

    def __init__(self, joins_a_second: float = float("inf")) -> None:
        super().__init__()
        self.asked_s: list[float] = []
        self.joined_s: list[float] = []
        self._joins_a_second = joins_a_second

    async def knock(self, url: str, **more: Any) -> Presence:
        self.asked_s.append(asyncio.get_running_loop().time())
        return await super().knock(url, **more)

    def admit(self, room: FakeRoom) -> None:
        now_s = asyncio.get_running_loop().time()
        if sum(now_s - at_s < 1.0 for at_s in self.joined_s[-1000:]) >= self._joins_a_second:
            raise Unreachable("503 Service Unavailable")
        self.joined_s.append(now_s)
        super().admit(room)


@dataclass
class Storm:
    """What a server felt from the moment in which it was there again."""

    stations: int
    away_s: float
    asked_s: list[float] = field(default_factory=list)
    """Questions, in seconds since its return."""
    joined_s: list[float] = field(default_factory=list)
    back_s: list[float] = field(default_factory=list)
    """When each station was online again, in seconds since its return."""

    def most_in(self, seconds: float, moments: list[float]) -> int:
        """The most that came within so long."""
        ordered = sorted(moments)
        return max((sum(at <= m < at + seconds for m in ordered) for at in ordered), default=0)

    def told(self) -> str:
        """A histogram of the joins, for a person."""
        bins = [0] * (int(max(self.joined_s, default=0.0) / BIN_S) + 1)
        for at_s in self.joined_s:
            bins[int(at_s / BIN_S)] += 1
        head = (
            f"{self.stations} stations, server away for {self.away_s:g} s: all back after {max(self.back_s):.2f} s; at "
            f"most {self.most_in(1.0, self.joined_s)} joins and {self.most_in(1.0, self.asked_s)} questions in a "
            f"second, {self.most_in(0.1, self.joined_s)} joins in 0.1 s"
        )
        scale = BAR / max(*bins, 1)
        rows = [f"  {n * BIN_S:5.2f} s {count:4d} {'█' * round(count * scale)}" for n, count in enumerate(bins)]
        return "\n".join([head, *rows])


async def storm(
    stations: int,
    away_s: float,
    *,
    joins_a_second: float = float("inf"),
    frozen: bool = False,
    mended: bool = True,
) -> Storm:
    """Inside a JumpingLoop: all online, the server killed (or frozen) and there again, until all are back.

    With `mended` False the SDK does not find the server again by itself: it may wait for 7 s between two tries.
    """
    server, clock = CountingServer(joins_a_second), LoopClock()
    async with _stations(stations, server, clock) as supervisors:
        await _until_all(supervisors, 600.0)
        await asyncio.sleep(STABLE_S)
        (server.freeze if frozen else server.kill)()
        await _pass(away_s)
        server.asked_s.clear()
        server.joined_s.clear()
        if mended:
            server.start()
        else:
            server.default_answer = Answer.ACCEPT
        began_s = clock.monotonic()
        seen = await _until_all(supervisors, 600.0)
        return Storm(
            stations,
            away_s,
            [at_s - began_s for at_s in server.asked_s],
            [at_s - began_s for at_s in server.joined_s],
            [at_s - began_s for at_s in seen],
        )


async def _pass(seconds: float) -> None:
    """Of a long outage the same tries over and over are skipped: only its beginning and its end run in full."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, JumpingLoop)
    if seconds > BEGINNING_S + END_S:
        await asyncio.sleep(BEGINNING_S)
        loop.leap(seconds - BEGINNING_S - END_S)
        seconds = END_S
    await asyncio.sleep(seconds)


async def _until_all(supervisors: list[Supervisor], within_s: float) -> list[float]:
    """Wait until all are online; returns when each was."""
    loop = asyncio.get_running_loop()
    end_s, seen = loop.time() + within_s, dict[int, float]()
    while len(seen) < len(supervisors):
        assert loop.time() < end_s, f"{len(supervisors) - len(seen)} stations starved for {within_s:g} s"
        for n, supervisor in enumerate(supervisors):
            if n not in seen and supervisor.state is State.ONLINE:
                seen[n] = loop.time()
        await asyncio.sleep(STEP_S)
    return list(seen.values())


@contextlib.asynccontextmanager
async def _stations(count: int, server: FakeServer, clock: LoopClock) -> AsyncIterator[list[Supervisor]]:
    """They were switched on over some seconds, as when the power comes back to a house."""
    rng = random.Random(count)
    supervisors = [_station(n, server, clock) for n in range(count)]

    async def live(supervisor: Supervisor) -> None:
        await asyncio.sleep(rng.uniform(0.0, 5.0))
        await supervisor.run()

    with structlog.testing.capture_logs(processors=[_drop]):
        tasks = [asyncio.create_task(live(supervisor)) for supervisor in supervisors]
        try:
            yield supervisors
        finally:
            for supervisor in supervisors:
                supervisor.stop()
            await asyncio.gather(*tasks)


def _station(number: int, server: FakeServer, clock: LoopClock) -> Supervisor:
    return Supervisor(
        settings=make_settings(identity=f"station{number}", audio=NO_CARDS),
        new_session=new_sessions(server, FakeBackend(), InlineWorker(), clock),
        clock=clock,
        rng=random.Random(number),
    )


def _drop(*_line: object) -> Any:
    """Forty thousand people who come and go are not kept."""
    raise structlog.DropEvent
