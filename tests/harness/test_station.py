"""A test sees of a station what a user sees, and fails early when it is gone."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.harness.server import LiveKitServer
from tests.harness.station import Station, StationEnded, station_settings

pytestmark = pytest.mark.slow


@pytest.mark.server
def test_a_station_is_watched_asked_and_stopped(livekit_server: LiveKitServer, tmp_path: Path) -> None:
    heard: list[str] = []
    config = station_settings("shed", server=livekit_server, room="station", metrics={"interval_s": 1})
    with Station(tmp_path / "shed", config, on_line=heard.append) as station:
        assert station.wait_event("room.connected", 20.0, room="station")["participants"] == 0
        assert station.wait_event("state.changed", 5.0, to=lambda state: state in ("online", "degraded"))
        assert station.running
        status = station.alto("status", "--json")
        assert status.returncode == 0, status.stderr
        assert json.loads(status.stdout)["identity"] == "shed"
        before = station.mark()
        assert station.next_metrics(5.0) in station.events("metrics", since=before)
    assert station.wait_end(1.0) == station.stop() == 0
    assert station.events("appliance.stopped")
    assert (station.garbage, station.stderr) == ([], "")
    assert heard == station.lines


def test_a_wait_for_a_station_that_ended_fails_at_once_and_tells_its_story(tmp_path: Path) -> None:
    started = time.monotonic()
    with (
        Station(tmp_path, {"identity": "shed"}) as station,
        pytest.raises(StationEnded, match=r"ended with 78(.|\n)*livekit"),
    ):
        station.wait_event("room.connected", 60.0)
    assert time.monotonic() - started < 30


@pytest.mark.server
def test_two_stations_of_one_name_keep_their_files_apart(livekit_server: LiveKitServer, tmp_path: Path) -> None:
    config = station_settings("shed", server=livekit_server, audio={"volumes": {"bob": 1.5}})
    one, other = Station(tmp_path / "1", config), Station(tmp_path / "2", config)
    assert one.runtime_dir != other.runtime_dir
    assert one.config_path.stat().st_mode & 0o077 == 0
    assert '"volumes"' in one.alto("show", "--json").stdout.replace("audio.volumes", '"volumes"')
