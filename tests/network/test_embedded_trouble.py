"""`EmbeddedServer` when livekit-server does not behave: programs of a few lines stand in for it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
import structlog

from appliance.clock import SystemClock
from appliance.network.server import EmbeddedServer, ServerFailed
from appliance.settings.model import EmbeddedServer as EmbeddedSettings
from tests.harness.aio import run
from tests.harness.ports import free_ports
from tests.harness.processes import is_running
from tests.harness.server import find_binary
from tests.harness.wait import until_async


def pretender(folder: Path, text: str) -> EmbeddedServer:
    """A server whose program is a shell script."""
    program = folder / "pretender"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o700)
    port, tcp, udp = free_ports(3)
    ports = {"port": port, "rtc_tcp_port": tcp, "rtc_udp_port": udp, "binary": str(program)}
    return EmbeddedServer(settings=EmbeddedSettings.model_validate(ports), state_dir=folder, clock=SystemClock())


async def begun(server: EmbeddedServer) -> tuple[asyncio.Task[None], int]:
    """A start that goes on, and the process that it waits for; the script has said "up"."""
    start = asyncio.create_task(server.start())
    await until_async(lambda: server._last_words == "up", 5.0, "the script's first line")
    assert server._process is not None
    return start, server._process.pid


def test_a_server_that_ends_at_once_is_quoted(tmp_path: Path) -> None:
    async def story() -> None:
        server = pretender(tmp_path, "echo could not bind; exit 3")
        with pytest.raises(ServerFailed, match="ended at once with 3: could not bind"):
            await server.start()

    run(story())


def test_a_start_that_is_given_up_leaves_no_process_on_the_port(tmp_path: Path) -> None:
    async def story() -> None:
        start, pid = await begun(pretender(tmp_path, "echo up; exec sleep 60"))
        start.cancel()
        await asyncio.wait({start})
        assert start.cancelled()
        assert not is_running(pid)

    run(story())


def test_a_server_that_will_not_end_is_killed_within_a_second_and_a_half(tmp_path: Path) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        server = pretender(tmp_path, "trap '' TERM; echo up; while :; do sleep 0.01; done")
        start, pid = await begun(server)
        began_s = loop.time()
        start.cancel()
        await asyncio.wait({start})
        assert loop.time() - began_s < 1.5
        assert not is_running(pid)

    run(story())


@pytest.mark.server
@pytest.mark.slow
def test_a_server_that_dies_is_started_again_without_being_asked_until_stop(tmp_path: Path) -> None:
    async def story() -> None:
        server = pretender(tmp_path, f'exec "{find_binary()}" "$@"')
        with structlog.testing.capture_logs() as lines:
            await server.start()
            assert server._process is not None
            first = server._process.pid
            os.kill(first, signal.SIGKILL)
            await until_async(lambda: [x["event"] for x in lines].count("server.started") == 2, 10.0, "another")
            assert server._process.pid != first
            second = server._process.pid
            await server.stop()
            assert not is_running(second)
        said = [(x["event"], x["log_level"]) for x in lines if x["event"] not in ("server.log", "server.no_interface")]
        started = ("server.started", "info")
        assert said == [started, ("server.died", "warning"), started, ("server.stopped", "info")]
        assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("server-")] == []

    run(story())


def test_its_log_lines_become_ours_at_the_level_they_deserve(tmp_path: Path) -> None:
    server = pretender(tmp_path, "")
    with structlog.testing.capture_logs() as lines:
        for line in (
            '{"level": "info", "msg": "hello"}',
            '{"level": "error", "msg": "no", "error": "port"}',
            "x",
            "[1]",
        ):
            server._tell(line)
    assert [(line["event"], line["log_level"], line["message"], line["error"]) for line in lines] == [
        ("server.log", "debug", "hello", ""),
        ("server.log", "warning", "no", "port"),
        ("server.log", "debug", "x", ""),
        ("server.log", "debug", "[1]", ""),
    ]
