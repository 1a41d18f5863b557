"""Asking a server, past the SDK, whether it answers at all.

A native connect to a server that hangs takes half a minute, cannot be cancelled, and throws our own newer session out
when it succeeds late. An HTTP question can be asked in a moment, as often as one likes, and given up at any time.
"""

from __future__ import annotations

import asyncio
import errno
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp

from appliance.errors import NetworkError
from appliance.network import explain, lookup
from appliance.network.explain import Obstacle
from appliance.ports import Answer

KNOCK_S: Final = 1.5
"""For each of the three steps: name, connection, answer. A lost SYN is repeated after 1 s and then after 2 s more: a
fresh question is quicker than that. The longest step, a connection with TLS around the world, takes 0.9 s."""

STEPS: Final = 3


async def knock(url: str, *, timeout_s: float = KNOCK_S) -> Answer:
    """Ask the server at `url` (ws, wss, http or https) at the path where the SDK would, in plain HTTP.

    A LiveKit server answers 404 to that, without a line in its log. So a page, a redirect or a 5xx is somebody else, or
    a server in trouble; whatever else answers may be judged by the SDK.

    Each step takes `timeout_s` at most, all of them three times that. Raises Unreachable, AttemptTimedOut; Rejected
    when `url` is no address. Cancelling it cancels nothing native.
    """
    try:
        async with asyncio.timeout(STEPS * timeout_s):
            return await _ask(url, timeout_s)
    except aiohttp.ConnectionTimeoutError:
        raise explain.unreachable(url, Obstacle.NO_CONNECTION, said=f"within {timeout_s:g} s") from None
    except TimeoutError:
        raise explain.silence(url, after_s=timeout_s) from None
    except aiohttp.ClientError as error:
        raise _explained(error, url) from error


async def _ask(url: str, timeout_s: float) -> Answer:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    limits = aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s)
    async with (
        aiohttp.ClientSession(connector=lookup.connector(timeout_s), timeout=limits) as session,
        # ssl=False: no certificate is judged here. Whether to trust this server is the SDK's decision, and its refusal
        # names the cause; nothing secret is said before that.
        session.get(explain.signal_url(url), ssl=False, allow_redirects=False) as head,
    ):
        # Leaving closes the connection: a sign-in page may be large, a broken one endless, and nothing of it is read.
        took_s = loop.time() - began_s
        if (obstacle := _obstacle(head)) is not None:
            raise explain.unreachable(url, obstacle, said=f"{head.status} {head.reason or ''}".strip())
        return Answer(took_s, _seconds(head.headers.get("Date", "")))


def _obstacle(head: aiohttp.ClientResponse) -> Obstacle | None:
    if head.status >= 500:
        return Obstacle.SERVER_FAULT
    if head.status >= 400:
        return None
    same_place = head.url.with_scheme("https").with_port(None).origin()
    if head.headers.get("Location", "").startswith(str(same_place)):
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
    errno.ECONNRESET: Obstacle.HUNG_UP,
}


def _explained(error: aiohttp.ClientError, url: str) -> NetworkError:
    if isinstance(error, aiohttp.InvalidURL):
        return explain.connect_failure("failed to parse the url", url)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return explain.unreachable(url, Obstacle.NO_NAME, said=str(error.os_error))
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return explain.unreachable(url, Obstacle.NO_TLS, said=str(error.os_error))
    if isinstance(error, aiohttp.ClientResponseError):
        return explain.unreachable(url, Obstacle.NO_LIVEKIT, said=error.message)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return explain.unreachable(url, Obstacle.HUNG_UP)
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return explain.unreachable(url, _ERRNOS[error.errno], said=str(error))
    return explain.connect_failure(str(error) or type(error).__name__, url)
