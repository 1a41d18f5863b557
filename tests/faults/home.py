"""One room with a listener that is not ours, and stations that each say a tone of their own into it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.harness.peer import SdkPeer
from tests.harness.server import LiveKitServer
from tests.harness.signals import VOICES_HZ, tone
from tests.harness.sound import NAMES, VirtualSound
from tests.harness.station import ALTO, Station, station_settings

JOIN_S: Final = 20.0  # generous: a loaded test machine; how fast a start is has tests of its own
LOUD_DBFS: Final = -20.0  # the tones are said at −12; a call with gaps of a third is below
TONES_HZ: Final = dict(zip(NAMES, VOICES_HZ, strict=False))

_rooms = itertools.count()


class Home:
    """Everything in it ends with `close`."""

    def __init__(self, directory: Path, server: LiveKitServer, sound: VirtualSound) -> None:
        self.directory: Final = directory
        self.room: Final = f"home-{next(_rooms)}"
        self._server = server
        self._sound = sound
        self._stack = contextlib.ExitStack()
        self.ear: Final = self._stack.enter_context(SdkPeer(server, "ear", self.room))

    def settings(self, name: str, **more: Any) -> dict[str, Any]:
        """alto.yaml of a station whose microphone hears its tone."""
        more = {"metrics": {"interval_s": 1}, "room": self.room, **more}
        return station_settings(name, server=self._server, sound=self._sound.station(name), **more)

    def make(self, name: str, *, command: Sequence[str] = ALTO, **more: Any) -> Station:
        """A station that says its tone, not started."""
        self._stack.enter_context(self._sound.play(name, tone(TONES_HZ[name], 1.0, -12.0), loop=True))
        return Station(self.directory / name, self.settings(name, **more), command=command)

    def station(self, name: str, *, command: Sequence[str] = ALTO, **more: Any) -> Station:
        """The same, started and heard."""
        station = self._stack.enter_context(self.make(name, command=command, **more))
        try:
            self.hears(name)
        except AssertionError as unheard:
            raise AssertionError(f"{unheard}\n{station.story()}") from None
        return station

    def hears(self, name: str, deadline_s: float = JOIN_S) -> None:
        """Wait until the listener hears that station."""
        self.ear.wait_hears(name, TONES_HZ[name], deadline_s)

    def level_dbfs(self, name: str, seconds: float = 1.0) -> float:
        """How loud the station's tone is at the listener, on average over the next `seconds`."""
        return self.ear.levels((TONES_HZ[name],), seconds)[name][TONES_HZ[name]]

    def goes_on(self, station: Station, seconds: float = 1.0) -> None:
        """Fails unless the station is heard all the time and never left."""
        name = station.directory.name
        level = self.level_dbfs(name, seconds)
        assert level > LOUD_DBFS, f"{name} at {level} dBFS\n{station.story()}"
        assert not station.events("room.disconnected"), station.story()

    def close(self) -> None:
        self._stack.close()
