"""A TCP port that behaves as a test says: silent, broken, a sign-in page, or the way to a real server."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Final, Self

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What happens to one connection; it is closed when this returns."""

READY_S: Final = 5.0
QUESTION: Final = 65536  # bytes; a question comes in one piece, whatever language it is in


class Front:
    """Listens on 127.0.0.1, on a thread of its own, so that tests without an event loop can use it too."""

    def __init__(self, behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> None:
        self.connections = 0
        """How many came so far."""
        self._behaviour = behaviour
        self._tls: Final = tls
        self.open: Final[set[asyncio.StreamWriter]] = set()
        """Connections that have not ended."""
        self._loop: Final = asyncio.new_event_loop()
        self._port: Final[Future[int]] = Future()
        self._thread: Final = threading.Thread(target=self._serve, name="front", daemon=True)
        self._thread.start()
        self.port: Final = self._port.result(READY_S)

    @property
    def url(self) -> str:
        return f"{'wss' if self._tls else 'ws'}://127.0.0.1:{self.port}"

    def behave(self, behaviour: Behaviour) -> None:
        """From now on like this; whoever is connected is cut off first."""
        self._behaviour = behaviour
        self._loop.call_soon_threadsafe(self._cut)

    def close(self) -> None:
        """Listen no more, and cut off whoever is connected. Idempotent."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(READY_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # ---- on its thread -----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        loop = self._loop
        server = loop.run_until_complete(asyncio.start_server(self._meet, "127.0.0.1", 0, ssl=self._tls))
        self._port.set_result(server.sockets[0].getsockname()[1])
        loop.run_forever()
        server.close()
        self._cut()
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        loop.close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        with contextlib.suppress(OSError):
            await self._behaviour(reader, writer)
        self.open.discard(writer)
        writer.close()

    def _cut(self) -> None:
        for writer in self.open:
            writer.transport.abort()


# ---- behaviours --------------------------------------------------------------------------------------------------


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take everything and say nothing, as a program that hangs."""
    while await reader.read(QUESTION):
        pass


async def hangs_up(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take the question and close, as a proxy whose server is gone."""
    await reader.read(QUESTION)


def says(answer: bytes) -> Behaviour:
    """Answer any question with these bytes."""

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(QUESTION)
        writer.write(answer)
        await writer.drain()

    return answers


def web(status: str, body: str = "<html>hello</html>", *headers: str) -> Behaviour:
    """Answer any question as a web server: `web("503 Service Unavailable")`."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: text/html", f"Content-Length: {len(body)}", *headers]
    return says("\r\n".join([*lines, "", body]).encode())


def _without_end(head: bytes, more: bytes) -> Behaviour:
    """`head`, and then `more` again and again, as fast as it is taken."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(QUESTION)
        writer.write(head)
        while True:
            writer.write(more * 1000)
            await writer.drain()

    return flood


endless: Final = _without_end(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", b"<p>and on and on and on</p>")
"""A page that never ends."""

babbles: Final = _without_end(b"HTTP/1.1 404 Not Found\r\n", b"X-And: on\r\n")
"""A head that never ends."""


async def trickles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A head that never ends, a line now and then."""
    await reader.read(QUESTION)
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-Patience: a little more\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


def relay(port: int) -> Behaviour:
    """Be the way to 127.0.0.1:`port`."""

    async def relays(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        finally:
            far_writer.close()

    return relays


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(QUESTION):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
