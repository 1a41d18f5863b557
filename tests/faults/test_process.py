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
from pathlib import Path
from typing import Any, Final

import pytest

from tests.faults.home import JOIN_S, Home
from tests.harness.processes import descendants, freeze, is_running, resume
from tests.harness.server import LiveKitServer
from tests.harness.station import ALTO, Station, station_settings
from tests.harness.wait import until

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.device]

HANGING: Final = (ALTO[0], "-m", "tests.harness.hanging")
RESTARTED: Final = (ALTO[0], "-m", "tests.harness.restarter")
ENDED_S: Final = 20.0  # promised: so long after it began to hang, the process is gone…
BACK_S: Final = 5.0  # …and so long after that it is in the call again, a pause of RestartSec=1 included
APART_S: Final = 4.0  # between the two, so that their restarts do not share the processor
HANGS_IN: Final = {"kitchen": "stuck_event_loop", "porch": "stuck_native_call"}
STOP_S: Final = 2.0
SEED: Final = 20261124


# ---- standing still --------------------------------------------------------------------------------------------------


def test_a_process_that_hangs_is_ended_within_20_s_and_back_in_the_call_5_s_later(home: Home) -> None:
    """Two ways to hang, side by side to save time: the loop's thread, and a native call with Python's lock."""
    hangs = {"kitchen": signal.SIGUSR1, "porch": signal.SIGUSR2}
    stations = {name: home.station(name, command=(*RESTARTED, *HANGING), coverage=False) for name in hangs}
    hung_s = {}
    for name, number in hangs.items():
        os.kill(_last_start(stations[name])["pid"], number)
        hung_s[name] = time.monotonic()
        _until_s(hung_s[name] + APART_S)
    for name, station in stations.items():
        pid = _last_start(station)["pid"]
        until(lambda pid=pid: not is_running(pid), ENDED_S + 1.0, f"the end of {name}\n{station.story()}")
        ended_s = time.monotonic()
        assert ended_s - hung_s[name] <= ENDED_S
        home.hears(station, BACK_S)
        assert time.monotonic() - ended_s <= BACK_S, station.story()
        (bite,) = station.events("watchdog.bit")
        assert HANGS_IN[name] in bite["stack"]
        assert station.stop() == 0
        assert not list(station.state_dir.glob("*.last-words"))


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
    while moments:
        with contextlib.ExitStack() as stack:
            three = [Station(tmp_path / f"s{n}", silent(f"s{n}", livekit_server)) for n in range(3)]
            began_s = time.monotonic()
            for station in three:
                stack.enter_context(station)
            for station in three:
                until(lambda pid=station.pid: _minds_signals(pid), 10.0, "alto to mind signals")
                assert not station.seen, "only when all was loaded"
            for station in three:
                moment_s, number = moments.pop(0)
                _until_s(began_s + moment_s)
                _ends_in_order(station, number)


def test_it_ends_within_2_s_while_the_server_is_frozen_or_its_own_closing_hangs(
    tmp_path: Path, fresh_livekit_server: LiveKitServer
) -> None:
    frozen = Station(tmp_path / "frozen", silent("frozen", fresh_livekit_server))
    config = silent("hanging", fresh_livekit_server)
    hanging = Station(tmp_path / "hanging", config, command=HANGING, env={"HANG_AT_CLOSE": "1"})
    with frozen, hanging:
        for station in (frozen, hanging):
            station.wait_event("room.connected", JOIN_S)
        fresh_livekit_server.freeze()
        for station in (frozen, hanging):
            _ends_in_order(station, signal.SIGTERM)
    assert frozen.events("appliance.stopped")
    assert not hanging.events("appliance.stopped"), "it really hung"


def _ends_in_order(station: Station, number: signal.Signals) -> None:
    asked_s = time.monotonic()
    assert (station.stop(number), time.monotonic() - asked_s <= STOP_S) == (0, True), station.story()
    assert not station.garbage
    assert "Traceback" not in station.stderr, station.stderr


def silent(name: str, server: LiveKitServer) -> dict[str, Any]:
    """A station without sound devices: what is asked here does not depend on them."""
    return station_settings(name, server=server, room="signals")


def _minds_signals(pid: int) -> bool:
    """Whether alto has its handlers: Python needs a moment before it runs a line of ours. SIGTERM's comes last."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def _until_s(moment_s: float) -> None:
    """The moment is the stimulus here, not something to be waited for."""
    time.sleep(max(0.0, moment_s - time.monotonic()))
