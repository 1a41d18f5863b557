"""The stage: a server and two stations on a network of the test's own, each saying a tone that the other should hear.

Every machine has a network namespace, so its cable can be pulled; sound passes the namespaces by a Unix socket. What
arrives at the loudspeakers is judged, whatever the stations say about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from livekit import api

from tests.faults.judge import Judge, Way
from tests.harness.netns import Machine, Switch
from tests.harness.processes import preferred
from tests.harness.server import LiveKitServer
from tests.harness.signals import VOICES_HZ, tone
from tests.harness.sound import VirtualSound
from tests.harness.station import Event, Station, station_settings
from tests.harness.wait import until_async

JOIN_S: Final = 30.0  # generous: a busy machine; the speed of a start is judged elsewhere
API_S: Final = 5.0
CALM_S: Final = 2.0
"""Sound counts as back when nothing interrupts it for that long: the second try of a pair would."""
ROOM: Final = "home"


class Stage:
    """Two stations in a call across a network that can be hurt. Make it on the main thread; needs root."""

    def __init__(self, directory: Path, sound: VirtualSound, names: tuple[str, str], **settings: Any) -> None:
        """`names`: two stations of `sound`; `settings` are merged into each alto.yaml."""
        self.names: Final = names
        self.stations: Final[dict[str, Station]] = {}
        self.machines: Final[dict[str, Machine]] = {}
        self.voices_hz: Final = dict(zip(names, VOICES_HZ, strict=False))
        self._directory: Final = directory
        self._sound: Final = sound
        self._settings: Final = settings
        self._stack: Final = contextlib.ExitStack()

    # ---- life ------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Bring up network, server, stations and voices; `assembled()` waits for the call."""
        self._stack.enter_context(preferred())
        self.switch = self._stack.enter_context(Switch())
        self.server_machine = self.switch.machine()
        self.server = self._stack.enter_context(LiveKitServer(self.server_machine))
        for name in self.names:
            self.machines[name] = self.switch.machine()
            self.stations[name] = self._stack.enter_context(self.station(name, self.machines[name]))
            self._stack.enter_context(self._sound.play(name, tone(self.voices_hz[name]), loop=True))
        one, other = self.names
        ways = (Way(one, other, self.voices_hz[one]), Way(other, one, self.voices_hz[other]))
        self.judge = Judge(self._stack.enter_context(self._sound.tape()), ways)
        return self

    def station(self, name: str, machine: Machine, *, directory: str = "") -> Station:
        """A station that is not started; `directory` for a second one of that name."""
        where = self._directory / (directory or name)
        return Station(where, self.settings(name), env=self._sound.env, coverage=False, machine=machine)

    def settings(self, name: str) -> dict[str, Any]:
        """The alto.yaml of a station."""
        return station_settings(name, server=self.server, room=ROOM, sound=self._sound.station(name), **self._settings)

    def close(self) -> None:
        """Everything ends. Idempotent."""
        self._stack.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # ---- what is asked ---------------------------------------------------------------------------------------------

    async def assembled(self) -> None:
        """Until both hear each other without interruption."""
        await self.steady(time.monotonic(), JOIN_S)

    async def steady(self, after_s: float, deadline_s: float, *, from_s: float | None = None) -> float:
        """Until both ways have been without an outage for two seconds; since when: see `Judge.steady_since`."""

        def look() -> float | None:
            self.judge.look()
            since_s = self.judge.steady_since(after_s, from_s=from_s)
            return since_s if self.judge.judged_s >= since_s + CALM_S else None

        found = await until_async(look, deadline_s + CALM_S, lambda: f"sound both ways\n{self.story()}")
        assert found is not None
        return found

    async def event(self, name: str, station: str, deadline_s: float, *, since: int = 0, **fields: Any) -> Event:
        """The first such line of a station, waiting for it."""
        one = self.stations[station]

        def look() -> Event | None:
            return next(iter(one.events(name, since=since, **fields)), None)

        found = await until_async(look, deadline_s, lambda: f"{name} {fields} of {station}\n{self.story()}")
        assert found is not None
        return found

    def marks(self) -> dict[str, int]:
        """Now, as a place among each station's lines."""
        return {name: station.mark() for name, station in self.stations.items()}

    def story(self, count: int = 25) -> str:
        """The last lines of both stations, for a failure's message."""
        return "\n".join(station.story(count) for station in self.stations.values())

    def administer(self, work: Callable[[api.LiveKitAPI], Awaitable[object]]) -> None:
        """Ask the server's API for something, as an administrator's script would; bounded."""

        async def ask() -> None:
            url = self.server.url.replace("ws://", "http://")
            async with api.LiveKitAPI(url, self.server.api_key, self.server.api_secret) as client:
                async with asyncio.timeout(API_S):
                    await work(client)

        self.server_machine.run(lambda: asyncio.run(ask()))
