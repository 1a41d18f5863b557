"""What `alto status`, `record` and `doctor` are told over a Unix socket; there is no network port.

A client sends one JSON line, `{"command": "status"}`, and is answered in JSON lines: `status` once, `watch` again and
again (`interval_s`) until it leaves, `record` (`source`, `seconds`) with a header line and then raw little-endian
int16 PCM. A client that is slow, silent or rude is dropped; it holds neither memory nor the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol, TypedDict

import structlog

from appliance.errors import AltoError
from appliance.observe.socketfile import SocketFile
from appliance.observe.values import error_text, plain

log = structlog.get_logger()

REQUEST_BYTES: Final = 4096
REQUEST_S: Final = 5.0
MOST_CLIENTS: Final = 8
WAITING_BYTES: Final = 256 * 1024  # unsent bytes of one client; 2.7 s of mono sound at 48 kHz
SLOW_S: Final = 2.0  # a client that takes nothing for so long is dropped; below what a recorder holds
WATCH_S: Final = (0.05, 60.0)  # bounds of `interval_s`
RECORD_S_MAX: Final = 24 * 3600.0


class Person(TypedDict, total=False):
    """Somebody else in the room."""

    identity: str
    level_dbfs: float | None
    volume: float
    buffer_ms: float | None
    parked: bool
    """Whether it is not played, because as many as audio.max_streams spoke later."""


class LegStatus(TypedDict, total=False):
    """One direction of the sound: `state` is off, ok or missing."""

    state: str
    device: str
    reason: str
    detail: str
    fix: str


class Trouble(TypedDict, total=False):
    """An error that happened: `at` is seconds since 1970."""

    at: float
    reason: str
    detail: str
    fix: str


class StatusReport(TypedDict, total=False):
    """What a station says of itself. Readers must bear missing keys: they may be of another version."""

    state: str
    """The supervisor's state: online, degraded, …"""
    reason: str
    """The stable word for why."""
    detail: str
    """The sentence for a person."""
    fix: str
    since_s: float
    """Seconds in this state."""
    retry_in_s: float | None
    attempt: int
    identity: str
    name: str
    room: str
    url: str
    """The server, without secrets."""
    version: str
    pid: int
    uptime_s: float
    config_file: str
    config_warnings: list[str]
    config_problems: list[str]
    """What is wrong with the file as it lies there now, while the running configuration is an older one."""
    config_kept_at: float
    """Only while the station runs with the last configuration that worked, because the file could not be used at its
    start: when that one was kept, seconds since 1970."""
    legs: dict[str, LegStatus]
    """`input` and `output`."""
    participants: list[Person]
    metrics: Mapping[str, Mapping[str, object]]
    """Sections as in EVENTS.md."""
    errors: list[Trouble]
    """The last few, newest first."""
    clock_s: float
    """What time it is for the station, seconds since 1970."""
    token_ends_at: float
    """When a ready token ends, seconds since 1970; not there for a right that renews itself."""
    watchdog_bit: bool
    """Whether the process before this one stood still and was ended."""


class StatusProvider(Protocol):
    """Who knows how the station is doing. Loop thread only; returns at once."""

    def status(self) -> StatusReport: ...


class Tap(Protocol):
    """A running recording. `chunks` gives little-endian int16 PCM, interleaved, as it comes, and ends by itself or by
    `close`; it holds a bounded amount when nobody takes."""

    @property
    def rate_hz(self) -> int: ...

    @property
    def channels(self) -> int: ...

    def chunks(self) -> AsyncIterator[bytes]: ...

    def close(self) -> None: ...


class TapFactory(Protocol):
    """Who can record: `source` is mix, microphone or both. Raises AltoError (unknown source, nothing runs)."""

    def tap(self, source: str, seconds: float) -> Tap: ...


class _Gone(Exception):
    """The client is not there any more, or has to go; the word says why."""


class StatusServer:
    """Answers at `path` from `start` to `close`. Loop thread only."""

    def __init__(self, *, path: Path, provider: StatusProvider, recorder: TapFactory) -> None:
        self._path = path
        self._provider = provider
        self._recorder = recorder
        self._file: SocketFile | None = None
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises SocketUnusable; AlreadyRunning when a living station has the path."""
        self._file = SocketFile(self._path)
        self._server = await asyncio.start_unix_server(self._accept, sock=self._file.sock, limit=REQUEST_BYTES)
        log.info("status.listening", path=self._path)

    async def close(self) -> None:
        """Drop all clients and remove the socket. Idempotent."""
        if self._server is not None:
            self._server.close()
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        if self._file is not None:
            self._file.close()
        self._server = self._file = None

    @property
    def attended(self) -> bool:
        """Whether a client is being answered: for longer than a moment only by a live view or a recording."""
        return bool(self._clients)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(reader, writer)
        task = asyncio.create_task(self._serve(client), name="status-client")
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, client: _Client) -> None:
        command = ""
        try:
            if len(self._clients) > MOST_CLIENTS:
                await client.refuse("busy", f"{MOST_CLIENTS} clients are connected already")
            request = await client.request()
            command = str(request.get("command"))
            await client.while_there(self._answer(client, command, request))
        except _Gone as why:
            if str(why) != "left":
                log.debug("status.client_dropped", reason=str(why), command=command)
        except Exception as error:  # one client's trouble is nobody else's
            log.debug("status.client_dropped", reason="failed", command=command, detail=error_text(error))
        finally:
            client.drop()

    async def _answer(self, client: _Client, command: str, request: Mapping[str, object]) -> None:
        if command == "status":
            await client.send_json(self._provider.status())
            await client.finish()
        elif command == "watch":
            await self._watch(client, _bounded(request.get("interval_s"), 0.2, *WATCH_S))
        elif command == "record":
            seconds = _bounded(request.get("seconds"), 10.0, 0.01, RECORD_S_MAX)
            await self._record(client, str(request.get("source", "mix")), seconds)
        else:
            await client.refuse("bad_request", f"unknown command {command!r}; known: status, watch, record")

    async def _watch(self, client: _Client, interval_s: float) -> None:
        while True:
            await client.send_json(self._provider.status())
            await asyncio.sleep(interval_s)

    async def _record(self, client: _Client, source: str, seconds: float) -> None:
        try:
            tap = self._recorder.tap(source, seconds)
        except AltoError as error:
            await client.refuse(error.reason, error.message, error.fix)
        try:
            await client.send_json(
                {"rate_hz": tap.rate_hz, "channels": tap.channels, "format": "s16le", "source": source}
            )
            with contextlib.suppress(TimeoutError):  # a tap that starves ends the recording, it does not hang it
                async with asyncio.timeout(seconds + SLOW_S):
                    await _pour(tap, client, round(seconds * tap.rate_hz) * tap.channels * 2)
            await client.finish()
        finally:
            tap.close()


class _Client:
    """One connection. Every method raises _Gone when the client left, is slow, or was told to go."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(high=WAITING_BYTES, low=WAITING_BYTES // 2)

    async def request(self) -> Mapping[str, object]:
        try:
            line = await asyncio.wait_for(self._reader.readline(), REQUEST_S)
        except TimeoutError:
            raise _Gone("silent") from None
        except ValueError:
            await self.refuse("bad_request", f"a request is one line of at most {REQUEST_BYTES} bytes")
        if not line:
            raise _Gone("left")
        try:
            request = json.loads(line)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            await self.refuse("bad_request", 'a request is one JSON object, e.g. {"command": "status"}')
        return dict(request)

    async def while_there(self, answer: Coroutine[Any, Any, None]) -> None:
        """Run `answer` until it ends or the client leaves; a client has nothing more to say after its request."""
        work = asyncio.ensure_future(answer)
        gone = asyncio.ensure_future(self._reader.read(1))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise _Gone("left")
            work.result()
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def send_json(self, data: Mapping[str, object] | StatusReport) -> None:
        await self.send(json.dumps(plain(data), allow_nan=False).encode() + b"\n")

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        try:
            await asyncio.wait_for(self._writer.drain(), SLOW_S)
        except TimeoutError:
            raise _Gone("slow") from None
        except ConnectionError:
            raise _Gone("left") from None

    async def finish(self) -> None:
        """See to it that everything arrived, then close."""
        self._writer.transport.set_write_buffer_limits(high=0)
        await self.send(b"")
        self._writer.close()

    async def refuse(self, reason: str, message: str, fix: str = "") -> NoReturn:
        """Answer with an error and end."""
        await self.send_json({"error": message, "reason": reason, "fix": fix})
        await self.finish()
        raise _Gone(reason)

    def drop(self) -> None:
        self._writer.transport.abort()


async def _pour(tap: Tap, client: _Client, rest_bytes: int) -> None:
    chunks = tap.chunks()
    try:
        async for chunk in chunks:
            await client.send(chunk[:rest_bytes])
            rest_bytes -= len(chunk)
            if rest_bytes <= 0:
                return
    finally:
        if isinstance(chunks, AsyncGenerator):  # ended now, not when the garbage is collected
            await chunks.aclose()


def _bounded(value: object, default: float, least: float, most: float) -> float:
    number = float(value) if isinstance(value, (int, float)) else default
    return min(max(number, least), most) if number == number else default
