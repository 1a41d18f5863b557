"""One measurement: two processes of one client in a call, with others in the room, from the start to the figures."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from livekit import api

from tests.bench import figures as arithmetic
from tests.bench.clients import Client, Place, Usage
from tests.bench.crowd import TALKING, Crowd
from tests.bench.figures import Figures
from tests.bench.heard import PERIOD_S, REACH_S, Heard, first_sound, listen, utterance
from tests.harness.server import LiveKitServer
from tests.harness.signals import RATE_HZ, VOICES_HZ
from tests.harness.sound import Tape, VirtualSound
from tests.harness.wait import until

FIRST, SECOND = "kitchen", "porch"
NAMES: Final = (FIRST, SECOND)
VOICE_HZ: Final = {FIRST: VOICES_HZ[0], SECOND: VOICES_HZ[1]}
START_S: Final = 60.0
SETTLE_S: Final = 6.0  # jitter buffers find their place, caches fill, and alto writes its first figures
SPARE_S: Final = 0.5
_numbers: Final = itertools.count(1)


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """What is measured: a client, and how many others do what."""

    client: str
    others: int
    state: str = TALKING
    long: bool = False
    """Over many minutes: for what grows slowly."""

    def __str__(self) -> str:
        others = f"{self.others} {self.state}" if self.others else "alone"
        return f"{self.client}, {others}{', long' if self.long else ''}"


@dataclass
class Trial:
    """What came of it."""

    cell: Cell
    seconds: float
    load: float
    """The machine's load average meanwhile: much above its cores, and all figures mean little."""
    figures: Figures
    accidents: Figures
    """What alto counted meanwhile, of that which a gap may come from, of both processes."""
    delays: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Speaker -> (s, ms), for the plot."""
    broken: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Speaker -> (s, how many ms quiet)."""
    lines: list[list[dict[str, Any]]] = field(default_factory=list)
    """Of each process its `metrics` lines meanwhile."""
    began_at: float = 0.0
    """`time.time()` when the recording that was judged began."""

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {
            "client": self.cell.client,
            "others": self.cell.others,
            "state": self.cell.state,
            "long": self.cell.long,
            "seconds": self.seconds,
            "load": self.load,
            "figures": self.figures,
            "accidents": self.accidents,
            "delays": {who: [[round(s, 2), round(ms, 2)] for s, ms in marks] for who, marks in self.delays.items()},
            "broken": self.broken,
        }


class Stage:
    """Sound, server and voices: what every trial needs, made once."""

    def __init__(self, commands: Mapping[str, str]) -> None:
        self._commands: Final = commands
        self._stack: Final = contextlib.ExitStack()
        self._sound: Final = VirtualSound(NAMES)
        self._server: Final = LiveKitServer()

    def __enter__(self) -> Stage:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._sound)
            stack.enter_context(self._server)
            for name, voice_hz in VOICE_HZ.items():
                stack.enter_context(self._sound.play(name, utterance(voice_hz), loop=True))
            self._stack.push(stack.pop_all())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def measure(self, cell: Cell, seconds: float) -> Trial:
        """Hold one call. Raises AssertionError, with what the clients said, when it does not come about."""
        room = f"bench-{next(_numbers)}"
        with (
            tempfile.TemporaryDirectory(prefix="alto-bench-") as directory,
            Crowd(self._server, room, cell.others, cell.state),
            self._client(cell, FIRST, room, Path(directory)) as first,
        ):
            until(lambda: self._publishes(room, first, FIRST), START_S, lambda: f"{cell} to join\n{first.story}")
            with self._sound.tape() as tape, self._client(cell, SECOND, room, Path(directory)) as second:
                began = tape.frames
                self._hears(tape, SECOND, (first, second))
                self._hears(tape, FIRST, (first, second))
                tape.wait(SETTLE_S)
                return self._hold(cell, seconds, tape, (first, second), began)

    def _hold(self, cell: Cell, seconds: float, tape: Tape, clients: tuple[Client, Client], began: int) -> Trial:
        began_at = time.time()
        at, lines = tape.frames, [client.mark() for client in clients]
        before = [client.usage() for client in clients]
        tape.wait(seconds)
        after = [client.usage() for client in clients]
        load = os.getloadavg()[0]
        tape.wait(REACH_S + SPARE_S)
        tape.stop()
        metrics = [client.metrics(since) for client, since in zip(clients, lines, strict=True)]
        heard = {who: listen(tape.mouth(who, at), tape.ear(_other(who), at), VOICE_HZ[who], seconds) for who in NAMES}
        found = arithmetic.of_sound(list(heard.values()), seconds) | _use(before, after)
        started = first_sound(tape.ear(SECOND, began))
        assert started is not None
        found["start_s"] = round(started / RATE_HZ, 3)
        for each in metrics:
            found |= {name: max(value, found.get(name, 0.0)) for name, value in arithmetic.callbacks(each).items()}
        grown = _sum(arithmetic.grew(each) for each in metrics)
        return Trial(cell, seconds, load, found, grown, *_told(heard), metrics, began_at)

    # ---- steps -------------------------------------------------------------------------------------------------

    def _client(self, cell: Cell, name: str, room: str, directory: Path) -> Client:
        place = Place(name, room, self._server.url, self._server.token(name, room), self._sound.station(name))
        (directory / name).mkdir()
        return Client(self._commands[cell.client], place, directory / name, self._sound.env)

    def _publishes(self, room: str, client: Client, identity: str) -> bool:
        _check((client,))
        return identity in asyncio.run(_publishers(self._server, room))

    def _hears(self, tape: Tape, listener: str, clients: tuple[Client, Client]) -> None:
        since = tape.frames

        def look() -> bool:
            _check(clients)
            tape.wait(0.1)
            return first_sound(tape.ear(listener, since)) is not None

        until(look, START_S, lambda: f"{listener} to hear something\n" + "\n---\n".join(each.story for each in clients))


class ClientEnded(Exception):
    """A client ended by itself; with its last words."""


def _check(clients: Sequence[Client]) -> None:
    for client in clients:
        if not client.running:
            raise ClientEnded(client.story)


def duration_s(cell: Cell, seconds: float) -> float:
    """How long such a trial takes, about: start, settling, and the judgement of it."""
    return seconds + SETTLE_S + REACH_S + 3.0 * PERIOD_S + 0.1 * cell.others


async def _publishers(server: LiveKitServer, room: str) -> set[str]:
    """Identities of those who have a track in the room."""
    async with api.LiveKitAPI(server.url, server.api_key, server.api_secret) as asked:
        answer = await asked.room.list_participants(api.ListParticipantsRequest(room=room))
    return {one.identity for one in answer.participants if one.tracks}


def _other(name: str) -> str:
    return SECOND if name == FIRST else FIRST


def _use(before: list[Usage], after: list[Usage]) -> Figures:
    """Both processes do the same work: their mean."""
    cpu = [100.0 * (b.cpu_s - a.cpu_s) / (b.at_s - a.at_s) for a, b in zip(before, after, strict=True)]
    rss = [use.rss_mb for use in after]
    return {"cpu_percent": round(float(np.mean(cpu)), 2), "rss_mb": round(float(np.mean(rss)), 1)}


def _sum(each: Iterator[Figures]) -> Figures:
    total: Figures = {}
    for one in each:
        for name, value in one.items():
            total[name] = round(total.get(name, 0.0) + value, 3)
    return total


def _told(heard: Mapping[str, Heard]) -> tuple[dict[str, list[tuple[float, float]]], ...]:
    """What `Trial` keeps of each way for the plot."""
    delays = {who: list(way.marks) for who, way in heard.items()}
    broken = {who: [(round(one.at_s, 3), round(one.ms, 1)) for one in way.broken] for who, way in heard.items()}
    return delays, broken
