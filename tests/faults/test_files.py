"""alto.yaml as power cuts, editors and hurried hands leave it: the call goes on, and a restart finds its way back."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.faults.home import JOIN_S, Home
from tests.harness.station import Event, Station
from tests.harness.wait import until

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.device]

NAME: Final = "kitchen"
TAKEN_UP_S: Final = 3.0  # promised is one second; the test machine is shared


def half_written(path: Path) -> None:
    """Cut within a key. A cut behind a line is a shorter file that may be meant: nobody can tell."""
    text = path.read_text()
    path.write_text(text[: text.index("url") + 2])


def emptied(path: Path) -> None:
    path.write_text("")


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def removed(path: Path) -> None:
    path.unlink()


def replaced_by_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def misspelt(path: Path) -> None:
    path.write_text(path.read_text().replace("livekit:", "livkit:"))


DAMAGES: Final = (half_written, emptied, zeroed, removed, replaced_by_a_directory, misspelt)


def kept(station: Station) -> Path:
    """Where the last good configuration is, once it is there."""
    path = station.state_dir / "last-good.yaml"
    until(path.exists, 5.0, "the last good configuration")
    return path


def test_every_damage_is_named_and_survived_in_mid_call_and_over_a_restart(home: Home) -> None:
    """One call, six damages; after each, the repaired file is taken up. Two of them are there at a reboot."""
    systemd = Systemd(home.directory / "notify")
    station = home.station(NAME, env={"NOTIFY_SOCKET": str(systemd.path)})
    good = station.config_path.read_text()
    for damage in DAMAGES:
        mark = station.mark()
        damage(station.config_path)
        rejected = station.wait_event("config.rejected", TAKEN_UP_S, since=mark)
        assert rejected["problems"], damage.__name__
        assert not station.events("room.disconnected"), damage.__name__
        _repair(station.config_path, good)
        station.wait_event("config.applied", TAKEN_UP_S, since=mark)
    home.goes_on(station)
    kept(station)
    for damage in (half_written, removed):
        damage(station.config_path)
        systemd.heard()
        _reboots_into_the_last_good_one(home, station)
        assert "alto.yaml is not in force" in systemd.heard()[-1]
        mark = station.mark()
        _repair(station.config_path, good)
        station.wait_event("config.applied", TAKEN_UP_S, since=mark)
        assert "config_kept_at" not in _status(station)
        assert "not in force" not in systemd.heard()[-1]
    home.goes_on(station)
    systemd.close()


class Systemd:
    """Who listens at NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._channel.bind(str(path))

    def heard(self) -> list[str]:
        """The sentences since the last time."""
        sentences = []
        with contextlib.suppress(BlockingIOError):
            while True:
                lines = self._channel.recv(4096).decode().splitlines()
                sentences += [line for line in lines if line.startswith("STATUS=")]
        return sentences

    def close(self) -> None:
        self._channel.close()


def _reboots_into_the_last_good_one(home: Home, station: Station) -> None:
    station.kill()
    mark = station.mark()
    station.start()
    station.wait_event("room.connected", JOIN_S, since=mark)
    home.hears(station)
    said = [event["event"] for event in station.seen[mark:] if event["event"].startswith("config.")]
    assert said == ["config.rejected", "config.fallback"]
    status = _status(station)
    assert status["config_problems"]
    assert status["config_kept_at"] == pytest.approx(time.time(), abs=3600)
    assert "last good" in station.alto("status").stdout


def _repair(path: Path, good: str) -> None:
    if path.is_dir():
        path.rmdir()
    path.touch(mode=0o600)
    path.write_text(good)


def _status(station: Station) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(station.alto("status", "--json").stdout)
    return found


def test_without_a_last_good_one_a_bad_file_ends_the_start(home: Home) -> None:
    station = home.make(NAME)
    half_written(station.config_path)
    with station:
        assert station.wait_end(JOIN_S) == 78


def test_a_last_good_one_that_was_damaged_too_ends_the_start(home: Home) -> None:
    with home.make(NAME) as station:
        path = kept(station)
        station.kill()
        path.write_bytes(path.read_bytes()[:-20])
        emptied(station.config_path)
        station.start()
        assert station.wait_end(JOIN_S) == 78


def test_a_hundred_savings_in_ten_seconds_end_with_the_last_and_few_reconnects(home: Home) -> None:
    """Each one names another room; every third is written slowly, in place, so that a half is there to be read."""
    station = home.station(NAME)
    mark = station.mark()
    began_s = time.monotonic()
    for number in range(100):
        settings = {**home.settings(NAME), "room": f"{home.room}-{number}"}
        if number % 3:
            station.write_config(settings)
        else:
            text = yaml.safe_dump(settings)
            for length in (text.index("url") + 2, len(text)):
                station.config_path.write_text(text[:length])
                time.sleep(0.02)  # the slowness of this writer
        time.sleep(max(0.0, began_s + 0.1 * (number + 1) - time.monotonic()))  # the pace of this hand
    station.wait_event("room.connected", JOIN_S, since=mark, room=f"{home.room}-99")
    assert len(station.events("room.disconnected", since=mark)) <= 10
    assert "-99" in kept(station).read_text()
    assert station.events("config.rejected", since=mark) == [] or len(station.events("config.rejected")) <= 10


def test_a_file_that_was_only_touched_or_written_anew_changes_nothing(home: Home) -> None:
    """FAT steps its time stamps by two seconds, and some editors save what did not change."""
    station = home.station(NAME)
    before = kept(station).stat()
    mark = station.mark()
    for change in (
        lambda: os.utime(station.config_path, (0, 0)),
        lambda: station.config_path.write_bytes(station.config_path.read_bytes()),
        lambda: station.write_config(home.settings(NAME)),
    ):
        change()
        _looked_at(station)
    assert not _about_configuration(station.seen[mark:])
    assert kept(station).stat() == before
    home.goes_on(station)


def _looked_at(station: Station) -> None:
    """Two of its looks, told by two of its periodic lines: one a second, a look takes 0.4 s."""
    for _ in range(2):
        station.next_metrics(5.0)


def _about_configuration(events: list[Event]) -> list[Event]:
    return [event for event in events if event["event"].startswith(("config.", "room.", "state."))]
