"""`EmbeddedServer` with the real livekit-server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.clock import SystemClock
from appliance.network.livekit_room import LiveKitRoom
from appliance.network.server import EmbeddedServer, ServerFailed, ServerMissing
from appliance.network.token import token_source
from appliance.settings.model import EmbeddedServer as EmbeddedSettings
from appliance.settings.model import Settings
from tests.contracts.rooms import Listener
from tests.harness.aio import run
from tests.harness.ports import free_ports
from tests.harness.processes import is_running
from tests.harness.server import find_binary
from tests.harness.wait import until_async

pytestmark = [pytest.mark.server, pytest.mark.slow]


def make_server(state_dir: Path, **more: object) -> EmbeddedServer:
    port, udp = free_ports(2)
    ports = {"port": port, "rtc_udp_port": udp, "binary": str(find_binary())}
    settings = EmbeddedSettings.model_validate({**ports, **more})
    return EmbeddedServer(settings=settings, state_dir=state_dir, clock=SystemClock())


@contextlib.asynccontextmanager
async def started(state_dir: Path) -> AsyncIterator[EmbeddedServer]:
    server = make_server(state_dir)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def pid_of(server: EmbeddedServer) -> int:
    assert server._process is not None
    return server._process.pid


def listening_addresses(pid: int) -> set[str]:
    """Where a process listens by TCP or UDP, as the kernel writes addresses: 0100007F is 127.0.0.1."""
    sockets = {os.readlink(link).strip("socket:[]") for link in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [
        line.split()
        for name in ("tcp", "tcp6", "udp", "udp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    # 0A: listening, 07: an unconnected UDP socket
    return {row[1].split(":")[0] for row in rows if row[9] in sockets and row[3] in ("0A", "07")}


def what_others_see(pid: int) -> str:
    """The command line and the environment of a process."""
    return "".join(Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "environ"))


def test_it_listens_on_loopback_only(tmp_path: Path) -> None:
    async def story() -> None:
        async with started(tmp_path) as server:
            assert listening_addresses(pid_of(server)) == {"0100007F"}

    run(story(), timeout_s=30)


def test_a_station_joins_the_server_that_it_started_by_its_generated_keys(tmp_path: Path) -> None:
    async def story() -> None:
        settings = Settings.model_validate({"identity": "kitchen", "livekit": {"url": "embedded"}})
        async with started(tmp_path) as server:
            keys = server.files.api_key_file, server.files.api_secret_file
            grant = await token_source(settings, SystemClock(), embedded=(server.url, *keys)).grant()
            room = LiveKitRoom(sample_rate=48_000)
            await room.connect(grant.url, grant.token, Listener(), deadline_s=10)
            await room.publish_microphone(rate_hz=48_000)
            await room.disconnect()

    run(story())


def test_its_keys_are_kept_private_and_stay_the_same(tmp_path: Path) -> None:
    async def story() -> None:
        async with started(tmp_path) as server:
            secret = server.files.api_secret_file.read_text()
            assert len(secret.strip()) >= 32
            for path in (tmp_path / "embedded").iterdir():
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
            assert stat.S_IMODE((tmp_path / "embedded").stat().st_mode) == 0o700
            assert secret.strip() not in what_others_see(pid_of(server))
        async with started(tmp_path) as again:
            assert again.files.api_secret_file.read_text() == secret

    run(story())


def test_a_server_that_died_is_started_again_and_one_that_runs_is_left_alone(tmp_path: Path) -> None:
    async def story() -> None:
        async with started(tmp_path) as server:
            first = pid_of(server)
            await server.start()
            assert pid_of(server) == first
            os.kill(first, signal.SIGKILL)
            await until_async(lambda: not is_running(first), 5.0, "its end")
            assert server._process is not None
            await asyncio.wait_for(server._process.wait(), 5.0)
            await server.start()
            assert pid_of(server) != first

    run(story())


def test_it_ends_within_a_second_and_twice_is_fine(tmp_path: Path) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with started(tmp_path) as server:
            pid = pid_of(server)
            began_s = loop.time()
            await server.stop()
            await server.stop()
            assert loop.time() - began_s < 1.5
            assert not is_running(pid)

    run(story())


def test_a_port_that_is_taken_names_the_key_to_change(tmp_path: Path) -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            server = make_server(tmp_path, port=other.getsockname()[1])
            with pytest.raises(ServerFailed, match=r"livekit\.embedded\.port"):
                await server.start()
            await server.stop()

    run(story())


def test_without_the_program_it_says_what_to_do(tmp_path: Path) -> None:
    async def story() -> None:
        with pytest.raises(ServerMissing, match=r"livekit\.embedded\.binary"):
            await make_server(tmp_path, binary=str(tmp_path / "nothing")).start()

    run(story())
