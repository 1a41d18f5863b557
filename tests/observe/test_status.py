"""The status socket, between a real server and real clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import structlog

from appliance.errors import AltoError
from appliance.observe import client
from appliance.observe.socketfile import AlreadyRunning, SocketFile, SocketUnusable
from appliance.observe.status import MOST_CLIENTS, StatusReport, StatusServer
from tests.harness.aio import run
from tests.harness.wait import until_async

CHUNK = b"\x01\x00" * 480


class Sound:
    """A recording that goes on for ever, or starves."""

    rate_hz = 48000
    channels = 1

    def __init__(self, *, starving: bool = False) -> None:
        self.closed = False
        self.given = 0
        self._starving = starving

    async def chunks(self) -> AsyncIterator[bytes]:
        while not self.closed and not self._starving:
            self.given += 1
            yield CHUNK
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    def close(self) -> None:
        self.closed = True


class Station:
    """A station that knows how it is."""

    def __init__(self) -> None:
        self.asked = 0
        self.taps: list[Sound] = []
        self.fails = False
        self.filler = ""
        self.starving = False

    def status(self) -> StatusReport:
        self.asked += 1
        if self.fails:
            raise RuntimeError("broken")
        return {"state": "online", "identity": "kitchen", "url": "wss://h?access_token=abc", "detail": self.filler}

    def tap(self, source: str, seconds: float) -> Sound:
        if source not in ("mix", "microphone", "both"):
            raise AltoError(f"no source {source!r}", fix="use mix, microphone or both")
        self.taps.append(Sound(starving=self.starving))
        return self.taps[-1]


def with_server(path: Path, story: Callable[[Station], Awaitable[None]], station: Station | None = None) -> Station:
    station = station or Station()

    async def told() -> None:
        server = StatusServer(path=path, provider=station, recorder=station)
        await server.start()
        try:
            await story(station)
        finally:
            await server.close()

    run(told())
    return station


async def ask(path: Path, request: bytes, *, then_close: bool = False) -> list[bytes]:
    """All that is answered, in lines."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    if then_close:
        writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer.splitlines()


# ---- asking ---------------------------------------------------------------------------------------------------------


def test_a_station_answers_how_it_is_without_secrets(tmp_path: Path) -> None:
    async def story(_: Station) -> None:
        answer = await asyncio.to_thread(client.query, tmp_path / "s.sock")
        assert answer["state"] == "online"
        assert answer["url"] == "wss://h?access_token=***"

    with_server(tmp_path / "s.sock", story)


def test_watching_gives_look_after_look_until_the_client_leaves(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def story(station: Station) -> None:
        def look() -> None:
            looks = client.watch(path, interval_s=0.05)
            assert [next(looks)["identity"] for _ in range(3)] == ["kitchen"] * 3
            looks.close()  # type: ignore[attr-defined]

        await asyncio.to_thread(look)
        assert station.asked >= 3

    with_server(path, story)


def test_who_watches_is_told_when_the_station_ends(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def told() -> None:
        station = Station()
        server = StatusServer(path=path, provider=station, recorder=station)
        await server.start()
        watching = asyncio.create_task(asyncio.to_thread(lambda: list(client.watch(path, interval_s=0.05))))
        await until_async(lambda: station.asked > 0, 10, "the first look")
        await server.close()
        with pytest.raises(client.NoStation, match="hung up"):
            await watching

    run(told())


def test_a_recording_arrives_sample_for_sample_and_ends_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def story(station: Station) -> None:
        def take() -> tuple[int, int, bytes]:
            with client.record(path, seconds=0.105) as recording:
                return recording.rate_hz, recording.channels, b"".join(recording)

        assert await asyncio.to_thread(take) == (48000, 1, b"\x01\x00" * 5040)
        await until_async(lambda: station.taps[0].closed, 10, "the end of the recording")

    with_server(path, story)


def test_a_source_that_does_not_exist_is_refused_with_its_fix(tmp_path: Path) -> None:
    async def story(_: Station) -> None:
        def attempt() -> None:
            with client.record(tmp_path / "s.sock", seconds=1, source="radio"):
                pass

        with pytest.raises(client.Refused, match="use mix, microphone or both"):
            await asyncio.to_thread(attempt)

    with_server(tmp_path / "s.sock", story)


@pytest.mark.slow
def test_a_recording_that_gets_no_sound_ends_shortly_after_its_time(tmp_path: Path) -> None:
    async def story(_: Station) -> None:
        lines = await ask(tmp_path / "s.sock", b'{"command": "record", "seconds": 0.01}\n')
        assert json.loads(lines[0])["rate_hz"] == 48000
        assert lines[1:] == []

    station = Station()
    station.starving = True
    with_server(tmp_path / "s.sock", story, station)


# ---- rude clients ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (b"hello\n", "one JSON object"),
        (b"[1]\n", "one JSON object"),
        (b'{"command": "reboot"}\n', "unknown command 'reboot'"),
        (b"{}\n", "unknown command"),
        (b"x" * 10_000, "at most 4096 bytes"),
    ],
)
def test_nonsense_is_answered_with_what_would_be_right(tmp_path: Path, request_: bytes, said: str) -> None:
    async def story(_: Station) -> None:
        answer = await ask(tmp_path / "s.sock", request_)
        assert said in json.loads(answer[0])["error"]

    with_server(tmp_path / "s.sock", story)


def test_a_client_that_leaves_at_any_moment_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def story(station: Station) -> None:
        for request in (
            b"",
            b'{"com',
            b'{"command": "status"}\n',
            b'{"command": "watch"}\n',
            b'{"command": "record"}\n',
        ):
            with socket.socket(socket.AF_UNIX) as rude:
                rude.connect(str(path))
                rude.sendall(request)
        await until_async(lambda: len(asyncio.all_tasks()) <= 2, 10, "the end of the clients' tasks")
        assert all(tap.closed for tap in station.taps)

    with_server(path, story)


@pytest.mark.slow
def test_a_client_that_does_not_read_is_dropped_and_its_recording_closed(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def story(station: Station) -> None:
        with socket.socket(socket.AF_UNIX) as lazy, structlog.testing.capture_logs() as lines:
            lazy.connect(str(path))
            lazy.sendall(b'{"command": "record", "seconds": 3600}\n')
            await until_async(lambda: bool(station.taps) and station.taps[0].closed, 10, "the end of the recording")
        assert station.taps[0].given * len(CHUNK) < 2_000_000, "what a slow client does not take is held in memory"
        assert [(line["event"], line["reason"]) for line in lines] == [("status.client_dropped", "slow")]

    with_server(path, story)


def test_too_many_clients_are_told_so_and_the_others_go_on(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def story(_: Station) -> None:
        async with contextlib.AsyncExitStack() as crowd:
            for _number in range(MOST_CLIENTS):
                reader, writer = await asyncio.open_unix_connection(path)
                crowd.callback(writer.close)
                writer.write(b'{"command": "watch", "interval_s": 0.05}\n')
                await reader.readline()
            answer = json.loads((await ask(path, b'{"command": "status"}\n'))[0])
            assert answer["reason"] == "busy"
            assert await reader.readline()
        await until_async(lambda: len(asyncio.all_tasks()) <= 2, 10, "the end of the clients' tasks")
        assert json.loads((await ask(path, b'{"command": "status"}\n'))[0])["state"] == "online"

    with_server(path, story)


def test_a_status_that_cannot_be_told_costs_that_client_only(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"

    async def story(station: Station) -> None:
        station.fails = True
        assert await ask(path, b'{"command": "status"}\n') == []
        station.fails = False
        assert json.loads((await ask(path, b'{"command": "status"}\n'))[0])["state"] == "online"

    with_server(path, story)


# ---- the socket's file ----------------------------------------------------------------------------------------------


def test_the_socket_is_for_its_owner_and_group_and_goes_with_the_station(tmp_path: Path) -> None:
    path = tmp_path / "run" / "alto" / "s.sock"

    async def story(_: Station) -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
        assert [entry.name for entry in path.parent.iterdir()] == ["s.sock"]

    with_server(path, story)
    assert list(path.parent.iterdir()) == []


def test_the_socket_of_a_dead_station_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    first = SocketFile(path)
    with pytest.raises(AlreadyRunning, match="another identity"):
        SocketFile(path)
    first.close()
    assert not path.exists()
    first.close()


def test_what_a_killed_maker_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    dead = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    names = [f"s.sock.{dead}", f"other.sock.{dead}", f"s.sock.{os.getppid()}", "s.sock.old"]
    for name in names:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(tmp_path / name))
    (tmp_path / f"s.sock.{dead + 1}").write_text("no socket")
    made = SocketFile(tmp_path / "s.sock")
    assert {path.name for path in tmp_path.iterdir()} == {"s.sock", f"s.sock.{dead + 1}", *names[1:]}
    made.close()


def test_only_the_own_socket_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    first = SocketFile(path)
    path.unlink()
    second = SocketFile(path)
    first.close()
    assert path.exists()
    second.close()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    path.write_text("my notes")
    with pytest.raises(SocketUnusable, match="is no socket"):
        SocketFile(path)
    assert path.read_text() == "my notes"


def test_a_path_that_cannot_be_a_socket_says_why(tmp_path: Path) -> None:
    with pytest.raises(SocketUnusable, match="too long"):
        SocketFile(tmp_path / ("x" * 120))
    (tmp_path / "file").write_text("")
    with pytest.raises(SocketUnusable, match="Not a directory"):
        SocketFile(tmp_path / "file" / "s.sock")
    with pytest.raises(SocketUnusable, match=r"status\.socket"):
        SocketFile(Path("/proc/alto/s.sock"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory that belongs to somebody else")
def test_a_directory_that_somebody_else_put_into_tmp_is_not_trusted(tmp_path: Path) -> None:
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "alto-0").mkdir()
    os.chown(shared / "alto-0", 12345, 12345)
    with pytest.raises(SocketUnusable, match="belongs to somebody else"):
        SocketFile(shared / "alto-0" / "alto" / "s.sock")


# ---- clients without a station --------------------------------------------------------------------------------------


def test_without_a_station_the_client_says_which_ones_there_are(tmp_path: Path) -> None:
    with pytest.raises(client.NoStation, match='start it with "alto run"'):
        client.query(tmp_path / "s.sock")
    porch = SocketFile(tmp_path / "porch.sock")
    with pytest.raises(client.NoStation, match=r"stations here: porch\.sock"):
        client.query(tmp_path / "s.sock")
    assert client.choose(tmp_path / "s.sock", tmp_path) == tmp_path / "porch.sock"
    porch.close()
    assert client.choose(tmp_path / "s.sock", tmp_path) == tmp_path / "s.sock"


def test_a_station_that_died_and_one_that_is_silent_are_told_apart(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s.sock"))
    with pytest.raises(client.NoStation, match="without a goodbye"):
        client.query(tmp_path / "s.sock")
    silent = SocketFile(tmp_path / "silent.sock")
    with pytest.raises(client.StationSilent, match="does not answer"):
        client.query(tmp_path / "silent.sock", deadline_s=0.05)
    silent.close()


def test_something_else_at_the_socket_is_not_taken_for_a_station(tmp_path: Path) -> None:
    async def story() -> None:
        async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(b"SSH-2.0\n")
            writer.close()

        server = await asyncio.start_unix_server(other, tmp_path / "s.sock")
        with pytest.raises(client.StationSilent, match="something else"):
            await asyncio.to_thread(client.query, tmp_path / "s.sock")
        server.close()

    run(story())


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_user_outside_the_group_is_told_how_to_get_in(tmp_path: Path) -> None:
    import subprocess
    import sys

    path = tmp_path / "s.sock"
    made = SocketFile(path)
    for directory in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        directory.chmod(0o755)
    code = f"from appliance.observe import client; from pathlib import Path; client.query(Path({str(path)!r}))"
    done = subprocess.run(
        [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
            sys.executable,
            "-c",
            code,
        ],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    made.close()
    assert "NotAllowed" in done.stderr, done.stderr
    assert "usermod -aG root" in done.stderr
