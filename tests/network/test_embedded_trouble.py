"""`EmbeddedServer` when livekit-server does not behave: programs of a few lines stand in for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from appliance.clock import SystemClock
from appliance.network import leftover
from appliance.network.server import EmbeddedServer, ServerFailed, _answers
from appliance.network.serverfiles import ServerFiles
from appliance.settings.model import EmbeddedServer as EmbeddedSettings
from tests.harness.aio import run
from tests.harness.ports import free_ports
from tests.harness.processes import end, is_running
from tests.harness.server import find_binary
from tests.harness.wait import until, until_async


def pretender(folder: Path, text: str) -> EmbeddedServer:
    """A server whose program is a shell script."""
    program = folder / "pretender"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o700)
    port, udp = free_ports(2)
    ports = {"port": port, "rtc_udp_port": udp, "binary": str(program)}
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


# ---- its files ------------------------------------------------------------------------------------------------------


def files(folder: Path) -> ServerFiles:
    return ServerFiles(folder / "embedded", EmbeddedSettings())


def test_keys_are_made_once_and_the_configuration_is_written_only_when_it_changed(tmp_path: Path) -> None:
    config = files(tmp_path).write()
    before = {path.name: (path.read_text(), path.stat().st_mtime_ns) for path in config.parent.iterdir()}
    assert sorted(before) == ["api_key", "api_secret", "livekit.yaml"]
    files(tmp_path).write()
    assert {path.name: (path.read_text(), path.stat().st_mtime_ns) for path in config.parent.iterdir()} == before


@pytest.mark.parametrize("content", [b"", b"\n", b"\0" * 20, b"\xff\xfe"])
def test_a_key_that_a_power_cut_spoiled_is_made_anew(tmp_path: Path, content: bytes) -> None:
    made = files(tmp_path)
    made.write()
    made.api_secret_file.write_bytes(content)
    config = made.write()
    assert len(made.api_secret_file.read_text().strip()) >= 32
    assert made.api_secret_file.read_text().strip() in config.read_text()


def test_files_that_cannot_be_used_are_an_error_with_a_cure(tmp_path: Path) -> None:
    async def refusal(server: EmbeddedServer) -> ServerFailed:
        with pytest.raises(ServerFailed) as caught:
            await server.start()
        return caught.value

    (tmp_path / "one" / "embedded" / "api_key").mkdir(parents=True)
    error = run(refusal(pretender(tmp_path / "one", "exit 3")))
    assert "found a directory" in error.message
    assert "remove it" in error.fix
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "embedded").touch()
    error = run(refusal(pretender(tmp_path / "other", "exit 3")))
    assert "cannot be written" in error.message
    assert str(tmp_path) in error.message


# ---- what an earlier run left behind ---------------------------------------------------------------------------------


def orphan(words: list[str]) -> int:
    """Start a program whose parent ends at once; returns its id."""
    shell = ["sh", "-c", '"$@" >/dev/null 2>&1 & echo $!', "sh", *words]
    return shown(int(subprocess.run(shell, capture_output=True, text=True, check=True).stdout))


def shown(pid: int) -> int:
    """A process that has just been started, with its arguments to be read: an exec closes the pipe by which its parent
    learns of it a moment before the kernel has the new arguments."""
    until(lambda: Path(f"/proc/{pid}/cmdline").read_bytes() != b"", 5.0, "its arguments")
    return pid


@pytest.fixture
def sleeper(tmp_path: Path) -> Path:
    """A program that takes any arguments and stays, in one process."""
    program = tmp_path / "sleeper"
    os.mkfifo(program.with_suffix(".fifo"))
    program.write_text('#!/bin/sh\nread nothing < "$0.fifo"\n')
    program.chmod(0o700)
    return program


def test_only_an_orphan_with_our_configuration_is_ended(tmp_path: Path, sleeper: Path) -> None:
    ours, other = tmp_path / "livekit.yaml", tmp_path / "another.yaml"
    mine = orphan([str(sleeper), "--config", str(ours)])
    foreign = orphan([str(sleeper), "--config", str(other)])
    reader = orphan([str(sleeper), "--read", str(ours)])
    try:
        assert leftover.end_all(ours) == [mine]
        until(lambda: not is_running(mine), 5.0, "the orphan to be gone: the kernel and its new parent see to it")
        assert is_running(foreign)
        assert is_running(reader)
        assert leftover.end_all(ours) == []
    finally:
        for pid in (foreign, reader):
            os.kill(pid, signal.SIGKILL)


def test_a_server_whose_alto_runs_is_left_alone(tmp_path: Path, sleeper: Path) -> None:
    config = tmp_path / "livekit.yaml"
    words = [str(sleeper), "--config", str(config)]
    start = f"import subprocess; child = subprocess.Popen({words}); print(child.pid, flush=True); child.wait()"
    alto = subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE)
    assert alto.stdout is not None
    child = int(alto.stdout.readline())
    try:
        shown(child)
        assert leftover.end_all(config) == []
        assert is_running(child)
        end(alto)  # killed: it takes nobody along
        assert leftover.end_all(config) == [child]
    finally:
        end(alto)
        alto.stdout.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def test_a_server_that_we_started_and_forgot_is_ended(tmp_path: Path, sleeper: Path) -> None:
    """As after a restart in place, which keeps the process id."""
    config = tmp_path / "livekit.yaml"
    child = subprocess.Popen([sleeper, "--config", config])
    try:
        shown(child.pid)
        assert leftover.end_all(config) == [child.pid]
    finally:
        end(child)


@pytest.mark.server
@pytest.mark.slow
def test_a_server_that_an_earlier_run_left_behind_makes_room(tmp_path: Path) -> None:
    async def story() -> None:
        server = pretender(tmp_path, f'exec "{find_binary()}" "$@"')
        left = orphan([str(find_binary()), "--config", str(server.files.write())])
        await until_async(lambda: _answers(server._settings.port), 10.0, "the one that is left")
        with structlog.testing.capture_logs() as lines:
            await server.start()
        assert [line["pid"] for line in lines if line["event"] == "server.left_over"] == [left]
        assert not is_running(left)
        await server.stop()

    run(story())


# ---- what it says ----------------------------------------------------------------------------------------------------


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
