"""The process, its disk and its signals: whatever happens to them, the call goes on or is back soon.

Real `alto run`, a real server, and a listener who hears whether the tone is there. What needs a mount of its own runs
in a mount namespace, as root.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.faults.home import JOIN_S, Home
from tests.harness.ports import free_ports
from tests.harness.processes import descendants, freeze, is_running, resume
from tests.harness.server import LiveKitServer
from tests.harness.sound import VirtualSound
from tests.harness.station import ALTO, Station, station_settings
from tests.harness.wait import until

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.device]

HANGING: Final = (ALTO[0], "-m", "tests.harness.hanging")
RESTARTED: Final = (ALTO[0], "-m", "tests.harness.restarter")
ENDED_S: Final = 20.0  # promised: so long after it began to hang, the process is gone…
BACK_S: Final = 5.0  # …and so long after that it is in the call again, a pause of RestartSec=1 included
STOP_S: Final = 2.0
SEED: Final = 20261124


@pytest.fixture
def home(tmp_path: Path, livekit_server: LiveKitServer, sound: VirtualSound) -> Iterator[Home]:
    """A room of its own; everything in it ends with the test."""
    one = Home(tmp_path, livekit_server, sound)
    try:
        yield one
    finally:
        one.close()


# ---- standing still --------------------------------------------------------------------------------------------------


def test_a_process_that_hangs_is_ended_within_20_s_and_back_in_the_call_5_s_later(home: Home) -> None:
    """Two ways to hang at the same time, to save time: the loop's thread, and a native call with Python's lock."""
    hangs = {"kitchen": signal.SIGUSR1, "porch": signal.SIGUSR2}
    stations = {name: home.station(name, command=(*RESTARTED, *HANGING)) for name in hangs}
    for name, number in hangs.items():
        os.kill(_last_start(stations[name])["pid"], number)
    hung_s = time.monotonic()
    ended_s = {}
    for name, station in stations.items():
        pid = _last_start(station)["pid"]
        until(lambda pid=pid: not is_running(pid), ENDED_S + 1.0, f"the end of {name}\n{station.story()}")
        ended_s[name] = time.monotonic()
        assert ended_s[name] - hung_s <= ENDED_S
    for name, station in stations.items():
        home.hears(name, BACK_S)
        assert time.monotonic() - ended_s[name] <= BACK_S, station.story()
        bites = station.events("watchdog.bit")
        assert len(bites) == 1
        assert hangs_in(name) in bites[0]["stack"]
        assert station.stop() == 0
        assert not list(station.state_dir.glob("*.last-words"))


def hangs_in(name: str) -> str:
    return "stuck_event_loop" if name == "kitchen" else "stuck_native_call"


def _last_start(station: Station) -> dict[str, Any]:
    return station.events("appliance.started")[-1]


# ---- its disk and its output -----------------------------------------------------------------------------------------

FULL_DISK: Final = """
mount -t tmpfs -o size=64k tmpfs "$STATE_DIRECTORY"; mount -t tmpfs -o size=64k tmpfs "$RUNTIME_DIRECTORY"
for place in "$STATE_DIRECTORY" "$RUNTIME_DIRECTORY"; do cat /dev/zero > "$place/full" 2> /dev/null; done
exec "$@"
"""
READ_ONLY_ROOT: Final = """
for place in / /tmp "$STATE_DIRECTORY" "$RUNTIME_DIRECTORY"; do
  mount --bind "$place" "$place" && mount -o remount,bind,ro "$place"
done
touch "$STATE_DIRECTORY/x" 2> /dev/null && exit 1
exec "$@"
"""


def in_mounts(script: str) -> tuple[str, ...]:
    """alto in a mount namespace of its own, after the script."""
    return ("unshare", "--mount", "--", "sh", "-c", script, "sh", *ALTO)


@pytest.mark.parametrize("script", [FULL_DISK, READ_ONLY_ROOT], ids=["full", "read-only"])
def test_a_disk_that_takes_nothing_keeps_nobody_from_calling(home: Home, script: str) -> None:
    station = home.station("kitchen", command=in_mounts(script))
    assert len(station.events("config.not_kept")) == 1
    station.write_config(home.settings("kitchen", audio={"input": {"volume": 0.9}}))
    station.wait_event("config.applied", 5.0)
    home.goes_on(station)
    assert len(station.events("config.not_kept")) == 1, "told once"
    assert not station.events("bug")


def test_directories_that_vanish_in_mid_call_are_not_missed(home: Home) -> None:
    station = home.station("kitchen")
    kept = station.state_dir / "last-good.yaml"
    until(kept.exists, 5.0, "the last good configuration")
    shutil.rmtree(station.state_dir)
    shutil.rmtree(station.runtime_dir)
    home.goes_on(station)
    station.write_config(home.settings("kitchen", audio={"input": {"volume": 0.9}}))
    station.wait_event("config.applied", 5.0)
    until(kept.exists, 5.0, "the last good configuration in a new directory")
    home.goes_on(station)
    assert not station.events("config.not_kept")
    assert station.stop() == 0


def test_standard_output_on_a_full_disk_is_not_missed(home: Home) -> None:
    station = home.station("kitchen", command=("sh", "-c", 'exec "$@" > /dev/full', "sh", *ALTO))
    home.goes_on(station, 2.0)
    status = json.loads(station.alto("status", "--json").stdout)
    assert status["state"] == "online"
    assert status["metrics"]["process"]["log_lines_dropped"] > 0
    assert station.stop() == 0


def test_a_reader_of_standard_output_that_stops_holds_nothing_up(home: Home) -> None:
    station = home.station("kitchen", command=("bash", "-c", 'exec "$@" > >(exec cat)', "bash", *ALTO))
    (reader,) = [pid for pid in descendants(station.pid) if Path(f"/proc/{pid}/comm").read_text().strip() == "cat"]
    freeze(reader)
    with Path(f"/proc/{reader}/fd/0").open("rb") as pipe:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)  # a line of figures has half of that: soon it takes no more
    mark = station.mark()
    for _ in range(50):
        station.signal(signal.SIGHUP)
        home.level_dbfs("kitchen", 0.02)
    home.goes_on(station, 2.0)
    assert station.mark() == mark, "the reader really stood still"
    resume(reader)
    station.wait_event("metrics", 5.0, since=mark)
    home.goes_on(station)
    assert station.stop() == 0


# ---- its signals -----------------------------------------------------------------------------------------------------


def test_a_hundred_reloads_at_once_are_a_few(home: Home) -> None:
    station = home.station("kitchen")
    mark = station.mark()
    for _ in range(100):
        station.signal(signal.SIGHUP)
    station.wait_event("config.applied", 5.0, since=mark)
    home.goes_on(station)
    assert len(station.events("config.applied", since=mark)) <= 10
    assert len(station.events("audio.opened")) == 2


def test_asked_to_end_at_any_moment_it_does_within_2_s_and_in_order(
    tmp_path: Path, livekit_server: LiveKitServer
) -> None:
    """Three at a time; the moments are spread over start, join and call."""
    rng = random.Random(SEED)
    moments = sorted((rng.uniform(0.0, 3.0), rng.choice((signal.SIGTERM, signal.SIGINT))) for _ in range(15))
    for round_ in range(0, len(moments), 3):
        stations = [Station(tmp_path / f"s{n}", silent(f"s{n}", livekit_server)) for n in range(3)]
        with contextlib.ExitStack() as stack:
            started_s = [time.monotonic() for station in stations if stack.enter_context(station)]
            for station, began_s, (moment_s, number) in zip(stations, started_s, moments[round_:], strict=False):
                until(lambda pid=station.pid: _minds_signals(pid), 5.0, "alto to mind signals")
                assert moment_s > 0.5 or not station.seen, "only when all was loaded"
                _until_s(began_s + moment_s)
                asked_s = time.monotonic()
                code = station.stop(number)
                assert (code, time.monotonic() - asked_s <= STOP_S) == (0, True), f"{moment_s} s\n{station.story()}"
                assert not station.garbage
                assert "Traceback" not in station.stderr, station.stderr


def silent(name: str, server: LiveKitServer, **more: Any) -> dict[str, Any]:
    """A station without sound devices: what is asked here does not depend on them."""
    return station_settings(name, server=server, room="signals", **more)


def _minds_signals(pid: int) -> bool:
    """Whether alto has its handlers: Python needs a moment before it runs a line of ours. SIGTERM's comes last."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def _until_s(moment_s: float) -> None:
    """The moment is the stimulus here, not something to be waited for."""
    time.sleep(max(0.0, moment_s - time.monotonic()))


# ---- power cuts ------------------------------------------------------------------------------------------------------

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
        self._wait_s = self._rng.uniform(0.0, JOIN_AND_CALL_S if self._by_line else START_S)

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
        return silent(name, server)
    port, tcp, udp = free_ports(3)
    ports = {"port": port, "rtc_tcp_port": tcp, "rtc_udp_port": udp}
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
