"""Power cuts at any moment: nothing that a killed station leaves behind hurts its next start."""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from tests.faults.home import JOIN_S
from tests.harness.ports import free_ports
from tests.harness.processes import is_running
from tests.harness.server import LiveKitServer
from tests.harness.station import Station, station_settings
from tests.harness.wait import until

pytestmark = [pytest.mark.slow, pytest.mark.server]

SEED: Final = 20261124
KILLS: Final = 200
SLOTS: Final = ("s0", "s1", "s2", "s3")  # so many at once
START_S: Final = 2.5  # of those that are killed at any time after their start…
JOIN_AND_CALL_S: Final = 1.0  # …and of those that are killed at any time after their first line


class Victim:
    """A station that is killed at a moment drawn by lot, and started again."""

    def __init__(self, station: Station, rng: random.Random) -> None:
        self.station = station
        self.reached: Counter[str] = Counter()
        """How far its lives came: the last of PHASES that each reached."""
        self._rng = rng

    def live(self) -> None:
        self._mark = self.station.mark()
        self.station.start()
        self._began_s = time.monotonic()
        self._by_line = self._rng.random() < 0.5
        # Squared: more early moments, when files are written and processes started, than of a call that just runs.
        self._wait_s = self._rng.random() ** 2 * (JOIN_AND_CALL_S if self._by_line else START_S)

    def due(self) -> bool:
        """Whether its moment has come."""
        began_s = self._began_s
        if self._by_line:
            lines = self.station.events("appliance.started", since=self._mark)
            began_s = lines[0]["arrived_s"] if lines else began_s + JOIN_S
        return time.monotonic() >= began_s + self._wait_s

    def die(self) -> None:
        assert self.station.running, self.station.story()
        self.station.kill()
        told = {event["event"] for event in self.station.seen[self._mark :]}
        self.reached[([phase for phase in PHASES if phase in told] or ["nothing"])[-1]] += 1


PHASES: Final = ("appliance.started", "status.listening", "server.started", "room.connected")


def test_200_power_cuts_at_any_moment_leave_nothing_that_hurts(tmp_path: Path, livekit_server: LiveKitServer) -> None:
    rng = random.Random(SEED)
    names = [f"s{number}" for number in range(4)]
    victims = [
        Victim(Station(tmp_path / name, _to_be_cut(name, livekit_server), coverage=False), rng) for name in names
    ]
    with contextlib.ExitStack() as stack:
        for victim in victims:
            stack.callback(victim.station.stop)
            victim.live()
        for _ in range(KILLS):
            next_ = until(lambda: next((one for one in victims if one.due()), None), JOIN_S * 2, "the next power cut")
            assert next_ is not None
            next_.die()
            next_.live()
        reached = sum((victim.reached for victim in victims), Counter[str]())
        assert min(reached["nothing"], reached["room.connected"]) >= KILLS / 20, f"all in one phase: {reached}"
        for victim in victims:
            _is_clean(victim.station)


def _to_be_cut(name: str, server: LiveKitServer) -> dict[str, Any]:
    """Two of four have a server of their own."""
    if name in ("s1", "s3"):
        return station_settings(name, server=server, room="power-cuts")
    port, udp = free_ports(2)
    ports = {"port": port, "rtc_udp_port": udp}
    off = {"enabled": False}
    return {
        "identity": name,
        "livekit": {"url": "embedded", "embedded": ports},
        "audio": {"input": off, "output": off},
    }


def _is_clean(station: Station) -> None:
    """The next start after the last cut joins, says nothing odd, and ends without leaving anything."""
    station.kill()
    mark = station.mark()
    assert not _mentioning(station.state_dir), "a server outlived its station"
    station.start()
    station.wait_event("room.connected", JOIN_S, since=mark)
    odd = [event for event in station.seen[mark:] if event["level"] not in ("debug", "info")]
    assert not odd, odd
    assert json.loads(station.alto("status", "--json").stdout)["state"] == "online"
    assert station.stop() == 0
    assert not list(station.runtime_dir.iterdir())
    assert {path.name for path in station.state_dir.iterdir()} <= {"last-good.yaml", "embedded"}
    assert not _mentioning(station.state_dir)


def _mentioning(folder: Path) -> list[str]:
    """Command lines of processes that know the folder."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (proc / "cmdline").read_bytes()
            if os.fsencode(folder) in words and is_running(int(proc.name)):
                found.append(words.decode(errors="replace"))
    return found
