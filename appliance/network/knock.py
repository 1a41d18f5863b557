"""Asking a server, past the SDK, whether it answers at all.

A native connect to a server that hangs takes half a minute, cannot be cancelled, and throws our own newer session out
when it succeeds late. An HTTP question can be asked in a moment, as often as one likes, and given up at any time.
"""

from __future__ import annotations

import asyncio
import errno
import io
import re
import socket
import ssl
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage, parse_headers
from typing import Final
from urllib.parse import quote, urlsplit

from aiohappyeyeballs import AddrInfoType, start_connection

from appliance.errors import NetworkError
from appliance.network import explain, lookup
from appliance.network.explain import Obstacle
from appliance.ports import Answer

KNOCK_S: Final = 1.5
"""For each of the three steps: name, connection, answer. A lost SYN is repeated after 1 s and then after 2 s more: a
fresh question is quicker than that. The longest step, a connection with TLS around the world, takes 0.9 s."""

SECOND_TRY_S: Final = 0.25  # RFC 8305: so much later the next address of a name is tried beside the first
HEAD_LINES: Final = 100  # as many as http.client takes
STATUS_LINE: Final = re.compile(rb"HTTP/\d\.\d ([1-5]\d\d)(?: ([^\r\n]*))?\r?\n")


@dataclass(frozen=True)
class _Place:
    """Where is asked. `host` is looked up, `name` is said: the same without an IPv6 address's scope, in ASCII."""

    host: str
    name: str
    port: int
    path: str
    by_tls: bool

    @property
    def written(self) -> str:
        """The name as a URL has it."""
        return f"[{self.name}]" if ":" in self.name else self.name


@dataclass(frozen=True)
class _Head:
    """What was answered, without its body."""

    status: int
    reason: str
    fields: HTTPMessage


async def knock(url: str, *, timeout_s: float = KNOCK_S) -> Answer:
    """Ask the server at `url` (ws, wss, http or https) at the path where the SDK would, in plain HTTP.

    A LiveKit server answers 404 to that, without a line in its log. So a page, a redirect or a 5xx is somebody else, or
    a server in trouble; whatever else answers may be judged by the SDK.

    Each step takes `timeout_s` at most, all of them three times that. Raises Unreachable, AttemptTimedOut; Rejected
    when `url` is no address. Cancelling it cancels nothing native.
    """
    try:
        place = _place(explain.signal_url(url))
        began_s = asyncio.get_running_loop().time()
        head = await _ask(place, url, timeout_s)
    except (ValueError, OSError, EOFError, HTTPException) as error:
        raise _explained(error, url) from error
    took_s = asyncio.get_running_loop().time() - began_s
    if (obstacle := _obstacle(head, place)) is not None:
        raise explain.unreachable(url, obstacle, said=f"{head.status} {head.reason}".strip())
    return Answer(took_s, _seconds(head.fields.get("Date", "")))


def _place(url: str) -> _Place:
    """Raises ValueError when that is no address."""
    parts = urlsplit(url)
    host, by_tls = parts.hostname or "", parts.scheme == "https"
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("no address")
    name = host.partition("%")[0] if ":" in host else host.encode("idna").decode()
    return _Place(host, name, parts.port or (443 if by_tls else 80), quote(parts.path, safe="/%:@"), by_tls)


async def _ask(place: _Place, url: str, timeout_s: float) -> _Head:
    found = await lookup.addresses(place.host, place.port, timeout_s=timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await _connect(found, place)
    except TimeoutError:
        raise explain.unreachable(url, Obstacle.NO_CONNECTION, said=f"within {timeout_s:g} s") from None
    try:
        async with asyncio.timeout(timeout_s):
            question = f"GET {place.path} HTTP/1.1\r\nHost: {place.written}:{place.port}\r\nConnection: close\r\n\r\n"
            writer.write(question.encode())
            return await _head(reader)
    except TimeoutError:
        raise explain.silence(url, after_s=timeout_s) from None
    finally:
        # At once: a sign-in page may be large, a broken one endless, and nothing of it is read.
        writer.transport.abort()


async def _connect(found: list[AddrInfoType], place: _Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = await start_connection(found, happy_eyeballs_delay=SECOND_TRY_S)
    try:
        if place.by_tls:
            return await asyncio.open_connection(sock=sock, ssl=_trusting(), server_hostname=place.name)
        return await asyncio.open_connection(sock=sock)
    except BaseException:
        sock.close()
        raise


def _trusting() -> ssl.SSLContext:
    """No certificate is judged here. Whether to trust this server is the SDK's decision, and its refusal names the
    cause; nothing secret is said before that."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _head(reader: asyncio.StreamReader) -> _Head:
    """Raises EOFError when it ends before anything is said, HTTPException for what is no HTTP."""
    first = await _line(reader)
    status = STATUS_LINE.fullmatch(first)
    if status is None:
        raise HTTPException("no HTTP") if first else EOFError("not a word")
    lines = []
    while (line := await _line(reader)).strip():
        lines.append(line)
        if len(lines) > HEAD_LINES:
            raise HTTPException(f"more than {HEAD_LINES} lines before the page")
    fields = parse_headers(io.BytesIO(b"".join([*lines, b"\r\n"])))
    return _Head(int(status[1]), (status[2] or b"").decode(errors="replace"), fields)


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError:  # how it says that a line is longer than its limit, 64 KiB
        raise HTTPException("an endless line") from None


def _obstacle(head: _Head, place: _Place) -> Obstacle | None:
    if head.status >= 500:
        return Obstacle.SERVER_FAULT
    if head.status >= 400:
        return None
    if head.fields.get("Location", "").startswith(f"https://{place.written}"):
        return Obstacle.TLS_ONLY
    return Obstacle.WEB_PAGE


def _seconds(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


_ERRNOS: Final = {
    errno.ECONNREFUSED: Obstacle.REFUSED,
    errno.ENETUNREACH: Obstacle.NO_ROUTE,
    errno.EHOSTUNREACH: Obstacle.NO_ROUTE,
    errno.ENETDOWN: Obstacle.NO_ROUTE,
    errno.ETIMEDOUT: Obstacle.NO_CONNECTION,
}

_KINDS: Final = (
    # the first that fits: all but the last two are OSErrors as well
    (socket.gaierror, Obstacle.NO_NAME),
    (ssl.SSLError, Obstacle.NO_TLS),
    (ConnectionResetError, Obstacle.HUNG_UP),
    (ConnectionAbortedError, Obstacle.HUNG_UP),  # in the middle of TLS
    (BrokenPipeError, Obstacle.HUNG_UP),
    (EOFError, Obstacle.HUNG_UP),
    (HTTPException, Obstacle.NO_LIVEKIT),
)


def _explained(error: Exception, url: str) -> NetworkError:
    if isinstance(error, ValueError):
        return explain.connect_failure("failed to parse the url", url)
    said = str(error) or type(error).__name__
    for kind, obstacle in _KINDS:
        if isinstance(error, kind):
            return explain.unreachable(url, obstacle, said=said)
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return explain.unreachable(url, _ERRNOS[error.errno], said=said)
    return explain.connect_failure(said, url)
