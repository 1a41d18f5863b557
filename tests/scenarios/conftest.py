"""What the scenarios share: stations and peers that are gone after each test, and a room of its own for each."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.harness.peer import SdkPeer
from tests.harness.processes import preferred
from tests.harness.server import LiveKitServer
from tests.harness.signals import level_dbfs, tone, usual_level_dbfs
from tests.harness.sound import Pcm, Tape, VirtualSound
from tests.harness.station import Station, station_settings
from tests.harness.wait import until

_rooms = itertools.count()
JOIN_S: Final = 15.0  # generous: a loaded test machine; the speed of a start has a test of its own


class Call:
    """One room on the real server with stations on virtual sound devices and SDK-only peers."""

    def __init__(self, directory: Path, server: LiveKitServer, sound: VirtualSound) -> None:
        self.directory = directory
        self.server = server
        self.sound = sound
        self.room = f"room-{next(_rooms)}"
        self._stack = contextlib.ExitStack()

    def settings(self, name: str, **more: Any) -> dict[str, Any]:
        """alto.yaml of a station on the virtual devices of that name."""
        more = {"metrics": {"interval_s": 1}, "room": self.room, **more}
        return station_settings(name, server=self.server, sound=self.sound.station(name), **more)

    def station(self, name: str, *, wait: bool = True, **more: Any) -> Station:
        """Start `alto run`; by default until it is in the room with sound open."""
        station = self.make(name, **more)
        self._stack.enter_context(station)
        if wait:
            station.wait_event("state.changed", JOIN_S, to="online")
        return station

    def make(self, name: str, *, arguments: tuple[str, ...] = (), coverage: bool = True, **more: Any) -> Station:
        """A station that is not started."""
        directory = self.directory / name
        return Station(directory, self.settings(name, **more), arguments=arguments, coverage=coverage)

    def peer(self, identity: str) -> SdkPeer:
        """A participant made of the SDK alone."""
        return self._stack.enter_context(SdkPeer(self.server, identity, self.room))

    def says(self, name: str, hz: float, dbfs: float = -12.0) -> None:
        """A tone goes into that station's microphone until the test ends."""
        self._stack.enter_context(self.sound.play(name, tone(hz, 1.0, dbfs), loop=True))

    def tape(self) -> Tape:
        """A recording of all microphones and speakers."""
        return self._stack.enter_context(self.sound.tape())

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def call(tmp_path: Path, livekit_server: LiveKitServer, sound: VirtualSound) -> Iterator[Call]:
    """A room of its own on the real server; everything in it ends with the test."""
    with preferred(), contextlib.closing(Call(tmp_path, livekit_server, sound)) as one:
        yield one


def hears(
    tape: Tape, name: str, hz: float, *, above: float = -40.0, deadline_s: float = 10.0, seconds: float = 0.3
) -> float:
    """Wait until the speaker of that station plays the tone; its level in dBFS over the last `seconds`."""

    def look() -> float | None:
        level = level_dbfs(_last(tape.ear(name), seconds), hz)
        return level if level > above else None

    found = until(look, deadline_s, f"{name} to hear {hz:g} Hz above {above:g} dBFS")
    assert found is not None
    return found


def steady(tape: Tape, name: str, hz: float, *, seconds: float = 1.0) -> float:
    """Usual level of the tone on that speaker during the next `seconds`: a gap on a busy machine does not count."""
    start = tape.frames
    tape.wait(seconds)
    return usual_level_dbfs(tape.ear(name, start), hz)


def settles(tape: Tape, name: str, hz: float, dbfs: float, *, within: float = 1.5, deadline_s: float = 15.0) -> None:
    """Wait until the tone has played at that level for half a second: a machine that is shared hiccups now and then,
    and this is about loudness."""
    levels: list[float] = []

    def look() -> bool:
        levels.append(round(steady(tape, name, hz, seconds=0.5), 1))
        return abs(levels[-1] - dbfs) <= within

    until(look, deadline_s, lambda: f"{name} to hear {hz:g} Hz at {dbfs:g} dBFS; heard {levels}")


def silent(tape: Tape, name: str, hz: float, *, below: float = -60.0, deadline_s: float = 10.0) -> None:
    """Wait until the speaker does not play the tone (any more)."""

    def look() -> Callable[[], float] | bool:
        return level_dbfs(_last(tape.ear(name), 0.3), hz) < below

    until(look, deadline_s, f"{name} not to hear {hz:g} Hz")


def _last(samples: Pcm, seconds: float) -> Pcm:
    return samples[-round(seconds * 48_000) :]
