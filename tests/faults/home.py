"""One room with a listener that is not ours, and stations that each say a tone of their own into it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.harness.peer import SdkPeer
from tests.harness.server import LiveKitServer
from tests.harness.signals import VOICES_HZ, tone
from tests.harness.sound import NAMES, VirtualSound
from tests.harness.station import ALTO, Station, station_settings

JOIN_S: Final = 60.0  # generous: a loaded test machine; how fast a start is has tests of its own
LOUD_DBFS: Final = -24.0  # the tones are said at −12; a piece that is half silent, or torn, is still above
PIECE_S: Final = 0.2
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

    def make(
        self,
        name: str,
        *,
        command: Sequence[str] = ALTO,
        env: Mapping[str, str] | None = None,
        coverage: bool = True,
        **more: Any,
    ) -> Station:
        """A station that says its tone, not started."""
        self._stack.enter_context(self._sound.play(name, tone(TONES_HZ[name], 1.0, -12.0), loop=True))
        config = self.settings(name, **more)
        return Station(self.directory / name, config, command=command, env=env, coverage=coverage)

    def station(self, name: str, **how: Any) -> Station:
        """The same, started and heard; `how` as `make` takes it."""
        station = self._stack.enter_context(self.make(name, **how))
        self.hears(station)
        return station

    def hears(self, station: Station, deadline_s: float = JOIN_S) -> None:
        """Wait until the listener hears that station."""
        name = station.directory.name
        try:
            self.ear.wait_hears(name, TONES_HZ[name], deadline_s)
        except AssertionError as unheard:
            raise AssertionError(f"{unheard}\n{station.story()}") from None

    def level_dbfs(self, name: str, seconds: float) -> float:
        """How loud the station's tone is at the listener, on average over the next `seconds`."""
        return self.ear.levels((TONES_HZ[name],), seconds)[name][TONES_HZ[name]]

    def goes_on(self, station: Station, seconds: float = 1.0) -> None:
        """Fails unless the station is heard during the next `seconds`, looked at in short pieces, and never left.

        A piece in four may be broken: test machines are shared, and what holds a station up leaves nothing to hear.
        """
        name = station.directory.name
        levels = [self.level_dbfs(name, PIECE_S) for _ in range(round(seconds / PIECE_S))]
        heard = [level for level in levels if level > LOUD_DBFS]
        assert len(heard) >= 0.75 * len(levels), f"{name} at {levels} dBFS\n{station.story()}"
        assert not station.events("room.disconnected"), station.story()

    def close(self) -> None:
        self._stack.close()
