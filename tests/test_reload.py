"""What a saved file, or one that lies there broken, does to the reloader."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest
import structlog

from appliance.errors import ConfigError
from appliance.reload import FileWatch, Keeper, Reloader
from appliance.settings.kept import LastGood
from appliance.settings.load import Loaded
from appliance.settings.sources import Sources
from tests.harness.aio import run
from tests.harness.wait import until_async


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


# ---- the reloader and the keeper ---------------------------------------------------------------------------------

GOOD = "identity: kitchen\nlivekit: {url: embedded}\n"
BAD = GOOD + "rom: cellar\n"


class Box:
    """A reloader on a real file, and what it did."""

    def __init__(self, folder: Path, text: str = GOOD) -> None:
        self.path = folder / "alto.yaml"
        self.path.write_text(text)
        self.sources = Sources({}, self.path)
        self.last_good = LastGood(folder / "state")
        self.keeper = Keeper(self.last_good)
        self.rooms: list[str] = []
        self.loads = 0

    def reloader(self, loaded: Loaded | None = None, problems: tuple[object, ...] = ()) -> Reloader:
        return Reloader(
            loaded=loaded or self.sources.load(),
            problems=problems,
            load=self._load,
            apply=lambda fresh, _changes: self.rooms.append(fresh.settings.room),
            on_secret=lambda: None,
        )

    def _load(self) -> Loaded:
        self.loads += 1
        return self.sources.load()


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def fast_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.reload.LOOK_S", 0.005)


def rejections(lines: list[Any]) -> int:
    return len([line for line in lines if line["event"] == "config.rejected"])


@pytest.mark.usefixtures("fast_looks")
def test_what_was_saved_between_loading_and_watching_is_seen(tmp_path: Path) -> None:
    box = Box(tmp_path)
    loaded = box.sources.load()
    box.path.write_text(GOOD + "room: cellar\n")

    async def story() -> None:
        async with running(box.reloader(loaded).run()):
            await until_async(lambda: box.rooms == ["cellar"], 5.0, "the cellar")

    run(story())


@pytest.mark.usefixtures("fast_looks")
def test_a_file_that_was_refused_at_the_start_is_taken_up_when_it_is_repaired(tmp_path: Path) -> None:
    box = Box(tmp_path)
    loaded = box.sources.load()
    box.last_good.keep(loaded.path, loaded.data)
    box.path.write_text(BAD)
    with pytest.raises(ConfigError) as refused:
        box.sources.load()
    kept = box.last_good.find()
    assert kept is not None
    reloader = box.reloader(box.sources.load_kept(kept), refused.value.problems)

    async def story() -> None:
        async with running(reloader.run()):
            await until_async(lambda: box.loads, 5.0, "a look at the file")
            assert box.path.read_text() == BAD
            box.path.write_text(GOOD + "room: cellar\n")
            await until_async(lambda: box.rooms == ["cellar"], 5.0, "the cellar")

    with structlog.testing.capture_logs() as lines:
        run(story())
    assert rejections(lines) == 0, "it was told already"
    assert reloader.problems == ()
    assert reloader.loaded.kept_at is None


@pytest.mark.usefixtures("fast_looks")
def test_the_same_mistake_is_told_again_only_to_who_asks(tmp_path: Path) -> None:
    box = Box(tmp_path)
    reloader = box.reloader()
    told: list[int] = []

    async def done() -> None:
        told.append(rejections(lines))

    async def story() -> None:
        async with running(reloader.run(done)):
            box.path.write_text(BAD)
            await until_async(lambda: told == [1], 5.0, "the first refusal")
            box.path.write_text("# another look at it\n" + BAD.replace("livekit", "# livekit"))
            await until_async(lambda: told[1:] == [2], 5.0, "another mistake")
            box.path.write_text("# another look at it\n" + BAD.replace("livekit", "# livekit "))
            await until_async(lambda: told[2:] == [2], 5.0, "no news")
            reloader.request()
            await until_async(lambda: told[3:] == [3], 5.0, "an answer")

    with structlog.testing.capture_logs() as lines:
        run(story())


@pytest.mark.usefixtures("fast_looks")
def test_a_burst_of_requests_is_a_few_reloads(tmp_path: Path) -> None:
    box = Box(tmp_path)
    reloader = box.reloader()
    done = asyncio.Event()

    async def end() -> None:
        done.set()

    async def story() -> None:
        async with running(reloader.run(end)):
            for _ in range(100):
                reloader.request()
            await done.wait()

    run(story())
    assert 1 <= box.loads <= 2


def test_what_works_is_kept_and_what_was_kept_is_not_kept_again(tmp_path: Path) -> None:
    box = Box(tmp_path)
    loaded = box.sources.load()

    async def story() -> None:
        async with running(box.keeper.run()):
            box.keeper.keep(dataclasses.replace(loaded, kept_at=1.0, data=b"old"))
            box.keeper.keep(loaded)
            await until_async(lambda: box.last_good.find(), 5.0, "what was kept")

    run(story())
    kept = box.last_good.find()
    assert kept is not None
    assert kept.data == GOOD.encode()


def test_a_directory_that_cannot_be_written_is_told_once_until_it_can(tmp_path: Path) -> None:
    box = Box(tmp_path)
    (tmp_path / "state").write_text("in the way")
    loaded = box.sources.load()

    def complaints() -> list[Any]:
        return [line for line in lines if line["event"] == "config.not_kept"]

    async def story() -> None:
        async with running(box.keeper.run()):
            for number in range(3):
                box.keeper.keep(dataclasses.replace(loaded, data=b"%d" % number))
                await until_async(complaints, 5.0, "a complaint")
            (tmp_path / "state").unlink()
            box.keeper.keep(loaded)
            await until_async(lambda: box.last_good.find(), 5.0, "what was kept")

    with structlog.testing.capture_logs() as lines:
        run(story())
    assert len(complaints()) == 1
    assert str(tmp_path / "state") in complaints()[0]["fix"]
