"""The periodic figures, in virtual time."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from appliance.observe.metrics import MetricsReporter, NoMetrics
from appliance.observe.pauses import GcPauses
from appliance.observe.process import ProcessReading, cpu_ratio, held_by_kernel, read_process
from tests.harness.processes import end, spawn
from tests.harness.vtime import LoopClock, run_jumping
from tests.harness.wait import until


class Source:
    """A part whose figures can be made to fail."""

    def __init__(self) -> None:
        self.failing = False
        self.asked = 0

    def get_metrics(self) -> Mapping[str, Mapping[str, object]]:
        self.asked += 1
        if self.failing:
            raise RuntimeError("no figures today")
        return {"input": {"frames": self.asked}}


def busy_process(at: float) -> ProcessReading:
    """Uses a quarter of a core."""
    return ProcessReading(at=at, cpu_s=at / 4, rss_bytes=100, threads=3, fds=9)


async def told(seconds: float, reporter: MetricsReporter, *then: Any) -> list[dict[str, Any]]:
    """What the reporter logs in this time; `then` are (second, action)."""
    with structlog.testing.capture_logs() as lines:
        task = asyncio.create_task(reporter.run())
        start = asyncio.get_running_loop().time()
        for second, action in then:
            asyncio.get_running_loop().call_at(start + second, action)
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return [dict(line) for line in lines]


def test_a_line_comes_every_interval_and_the_first_after_one() -> None:
    async def story() -> None:
        reporter = MetricsReporter(source=Source(), interval_s=30, clock=LoopClock(), read=busy_process)
        lines = await told(95, reporter)
        assert [line["event"] for line in lines] == ["metrics"] * 3
        assert [line["input"]["frames"] for line in lines] == [1, 2, 3]
        assert [line["process"]["uptime_s"] for line in lines] == [30.0, 60.0, 90.0]
        assert lines[0]["process"]["cpu_ratio"] == 0.25

    run_jumping(story())


def test_the_interval_can_be_changed_while_it_runs() -> None:
    async def story() -> None:
        reporter = MetricsReporter(source=Source(), interval_s=3600, clock=LoopClock(), read=busy_process)
        lines = await told(95, reporter, (50, lambda: reporter.set_interval(10)))
        assert [line["process"]["uptime_s"] for line in lines] == [60.0, 70.0, 80.0, 90.0]

    run_jumping(story())


def test_a_part_that_cannot_be_asked_is_told_once_and_costs_only_its_own_figures() -> None:
    async def story() -> None:
        source = Source()
        source.failing = True
        reporter = MetricsReporter(source=source, interval_s=10, clock=LoopClock(), read=busy_process)
        lines = await told(45, reporter, (25, lambda: setattr(source, "failing", False)))
        assert [line["event"] for line in lines] == ["metrics.failed", *["metrics"] * 4]
        assert ["input" in line for line in lines[1:]] == [False, False, True, True]
        assert lines[0]["error"] == "RuntimeError: no figures today"

    run_jumping(story())


def test_a_loop_that_was_held_up_shows_in_the_line_after_it_and_only_there() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        reporter = MetricsReporter(source=Source(), interval_s=10, clock=LoopClock(), read=busy_process)

        def hold_up() -> None:
            loop.now_s += 0.4  # type: ignore[attr-defined]

        lines = await told(25, reporter, (5.05, hold_up))
        assert 300 <= lines[0]["process"]["loop_lag_ms_max"] <= 400
        assert lines[1]["process"]["loop_lag_ms_max"] < 1
        assert [line["process"]["loop_stalls"] for line in lines] == [1, 1], "counted, since the start"

    run_jumping(story())


def test_a_look_from_outside_leaves_the_next_line_alone() -> None:
    async def story() -> None:
        reporter = MetricsReporter(source=NoMetrics(), interval_s=10, clock=LoopClock(), read=busy_process)
        looks: list[Any] = []
        lines = await told(
            11, reporter, (5, lambda: looks.append(reporter.sample())), (5.2, lambda: looks.append(reporter.sample()))
        )
        assert [look["process"]["cpu_ratio"] for look in looks] == [0.25, 0.25]
        assert lines[0]["process"]["cpu_ratio"] == 0.25

    run_jumping(story())


def test_what_a_live_view_saw_is_in_the_next_line_as_well() -> None:
    class Meter:
        """Levels that start anew with each look, as the audio parts have them."""

        looks = iter([(-20.0, -3.0, 4.0), (-90.0, -80.0, 1.0), (-90.0, -90.0, 0.5), (-90.0, -90.0, 0.5)])

        def get_metrics(self) -> Mapping[str, Mapping[str, object]]:
            level, peak, longest = next(self.looks)
            voice = {"bob": {"level_dbfs": level}}
            return {
                "input": {"level_dbfs": level, "peak_dbfs": peak, "callback_ms_max": longest, "blocks": 1},
                "mixer": {"per_stream": voice if level > -50 or peak == -90.0 else {}},
            }

    async def story() -> None:
        reporter = MetricsReporter(source=Meter(), interval_s=10, clock=LoopClock(), read=busy_process)
        looks: list[Any] = []

        def look() -> None:
            looks.append(reporter.sample())
            looks.append(reporter.sample())

        first, second = await told(21, reporter, (5, look), (7, look))
        assert [one["input"]["peak_dbfs"] for one in looks] == [-3.0, -3.0, -80.0, -80.0]
        assert first["input"] == {"level_dbfs": -23.0, "peak_dbfs": -3.0, "callback_ms_max": 4.0, "blocks": 1}
        assert first["mixer"]["per_stream"]["bob"]["level_dbfs"] == -22.0
        assert second["input"] == {"level_dbfs": -90.0, "peak_dbfs": -90.0, "callback_ms_max": 0.5, "blocks": 1}

    run_jumping(story())


def test_the_real_process_is_read_from_proc() -> None:
    reading = read_process(time.monotonic())
    assert 1_000_000 < (reading.rss_bytes or 0) < 10_000_000_000
    assert (reading.threads or 0) >= 1
    before = reading.fds or 0
    with Path(os.devnull).open():
        assert read_process(time.monotonic()).fds == before + 1
    assert reading.cpu_s > 0


def test_without_proc_the_figures_are_unknown() -> None:
    reading = read_process(1.0, Path("/nonexistent"))
    assert (reading.rss_bytes, reading.threads, reading.fds) == (None, None, None)
    assert cpu_ratio(reading, reading) is None


def test_a_thread_that_cannot_be_ended_is_seen(tmp_path: Path) -> None:
    """Who starts a program waits in state D until that has been loaded; here it first waits for a writer of a pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    opens = "[(os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)]"
    words = f"import os, sys; os.posix_spawn('/bin/true', ['true'], {{}}, file_actions={opens})"
    one = spawn([sys.executable, "-c", words, pipe])
    try:
        proc = Path(f"/proc/{one.pid}")
        until(lambda: held_by_kernel(proc), 10.0, "the wait")
        with pipe.open("w"):
            until(lambda: not held_by_kernel(proc), 10.0, "its end")
        assert one.wait(10.0) == 0
    finally:
        end(one)
    assert not held_by_kernel(tmp_path)


def test_garbage_collections_are_timed_and_the_long_ones_counted() -> None:
    pauses = GcPauses()
    pauses.start()
    gc.collect()
    pauses.stop()
    assert 0 < pauses.take_longest_s() < 5
    assert pauses.longest_s == 0.0
    before = pauses.stalls
    gc.collect()
    assert pauses.longest_s == 0.0, "told to stop"
    for took_s in (0.0049, 0.0051):
        pauses.note(took_s)
    assert (pauses.stalls - before, pauses.longest_s) == (1, 0.0051)


class Loud(Source):
    """Once, somebody shouted."""

    def __init__(self) -> None:
        super().__init__()
        self.peaks = [-30.0, -1.0, -30.0]

    def get_metrics(self) -> Mapping[str, Mapping[str, object]]:
        return {"input": {"peak_dbfs": self.peaks.pop(0) if self.peaks else -60.0}}


def test_neither_a_scrape_nor_a_look_takes_anything_away_from_the_others() -> None:
    async def story() -> None:
        reporter = MetricsReporter(source=Loud(), interval_s=30, clock=LoopClock(), read=busy_process)
        scrapes: list[object] = []

        def scrape() -> None:
            scrapes.append(reporter.scrape()["input"]["peak_dbfs"])

        lines = await told(35, reporter, (5, scrape), (10, reporter.sample), (15, scrape), (20, scrape))
        assert scrapes == [-30.0, -1.0, -60.0]
        assert [line["input"]["peak_dbfs"] for line in lines] == [-1.0]

    run_jumping(story())


def test_the_line_takes_nothing_away_from_a_scrape() -> None:
    async def story() -> None:
        reporter = MetricsReporter(source=Loud(), interval_s=10, clock=LoopClock(), read=busy_process)
        scrapes: list[object] = []
        await told(31, reporter, (25, lambda: scrapes.append(reporter.scrape()["input"]["peak_dbfs"])))
        assert scrapes == [-1.0]

    run_jumping(story())
