"""Waits end with what they waited for, or with a story."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from tests.harness.aio import run
from tests.harness.ports import free_port, free_ports
from tests.harness.processes import end, is_running, spawn
from tests.harness.wait import until, until_async


def test_a_wait_returns_what_the_condition_returned() -> None:
    answers = iter([None, 0, "there"])
    assert until(lambda: next(answers), 1.0, "an answer") == "there"


def test_a_wait_in_vain_tells_what_it_waited_for_and_what_it_saw_last() -> None:
    with pytest.raises(AssertionError, match=r"waited 0\.01 s for rain; the last look gave \[\]"):
        until(list, 0.01, "rain")
    with pytest.raises(AssertionError, match=r"waited 0\.01 s for the sun in June; .*KeyError"):
        until(lambda: dict[str, int]()["june"], 0.01, lambda: "the sun in June")


def test_an_async_wait_takes_plain_and_async_conditions() -> None:
    async def story() -> None:
        ready = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, ready.set)
        assert await until_async(ready.is_set, 1.0, "the event")

        async def late() -> int:
            return 7

        assert await until_async(late, 1.0, "a number") == 7
        with pytest.raises(AssertionError, match="for Godot"):
            await until_async(lambda: False, 0.01, "Godot")

    run(story())


def test_a_story_that_hangs_fails_with_the_place_where_it_hangs() -> None:
    async def nobody_comes() -> None:
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="nobody_comes"):
        run(nobody_comes(), timeout_s=0.02)


def test_a_storys_result_and_its_error_come_out() -> None:
    async def story(bad: bool) -> int:
        if bad:
            raise ValueError("bad")
        return 3

    assert run(story(False)) == 3
    with pytest.raises(ValueError, match="bad"):
        run(story(True))


def test_free_ports_differ_and_can_be_used_for_both_protocols() -> None:
    ports = free_ports(8)
    assert len(set(ports)) == 8
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind(("127.0.0.1", free_port()))


def test_a_program_that_ignores_polite_signals_is_killed_in_the_end() -> None:
    stubborn = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); signal.pause()"
    process = spawn([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as stdout:
        assert stdout.readline() == b"1\n"
    assert end(process, (signal.SIGTERM, 0.05)) == -signal.SIGKILL
    assert end(process) == -signal.SIGKILL


@pytest.mark.slow
def test_what_a_killed_test_run_had_started_dies_with_it(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import signal, sys
        from tests.harness.processes import spawn
        print(spawn(["sleep", "600"]).pid, flush=True)
        signal.pause()
    """)
    runner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert runner.stdout is not None
    with runner.stdout as stdout:
        pid = int(stdout.readline())
    assert is_running(pid)
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    until(lambda: not is_running(pid), 5.0, f"process {pid} to die with its runner")


def test_no_thread_is_left_by_these_tools() -> None:
    before = threading.active_count()
    run(asyncio.sleep(0))
    assert threading.active_count() == before
