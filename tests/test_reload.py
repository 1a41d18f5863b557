"""What a saved file, or one that lies there broken, does to the reloader."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.reload import FileWatch


def test_a_change_is_reported_once_and_only_when_the_file_keeps_still(tmp_path: Path) -> None:
    path = tmp_path / "alto.yaml"
    path.write_text("room: home\n")
    watch = FileWatch(path)
    assert not watch.changed()
    path.write_text("room: ce")
    assert not watch.changed(), "half written"
    path.write_text("room: cellar\n")
    assert not watch.changed()
    assert watch.changed()
    assert not watch.changed()


def test_a_change_that_is_taken_back_is_none(tmp_path: Path) -> None:
    path = tmp_path / "alto.yaml"
    path.write_text("room: home\n")
    watch = FileWatch(path)
    path.write_text("room: cellar\n")
    assert not watch.changed()
    path.write_text("room: home\n")
    assert not watch.changed()
    assert not watch.changed()


def test_a_file_that_vanishes_or_becomes_a_pipe_is_a_change_and_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "alto.yaml"
    path.write_text("room: home\n")
    watch = FileWatch(path)
    path.unlink()
    assert [watch.changed(), watch.changed()] == [False, True]
    os.mkfifo(path)
    assert [watch.changed(), watch.changed()] == [False, True]


def test_a_file_of_the_same_length_and_time_stamp_is_still_seen(tmp_path: Path) -> None:
    """FAT's time stamps step by two seconds."""
    path = tmp_path / "alto.yaml"
    path.write_text("volume: 0.5\n")
    stat = path.stat()
    watch = FileWatch(path)
    path.write_text("volume: 0.6\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert [watch.changed(), watch.changed()] == [False, True]
