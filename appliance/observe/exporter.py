"""Prometheus' way to the figures: plain HTTP at `metrics.listen`, only when that is set.

Nobody is asked who they are, so the address decides who may read. A scrape reads and resets nothing but its own
"since the look before". An address that cannot be had, now or not yet, is tried again and never holds up a call.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog

from appliance.observe.exposition import CONTENT_TYPE

if TYPE_CHECKING:
    from aiohttp import web

log = structlog.get_logger()

PATH: Final = "/metrics"
RETRY_S: Final = 5.0  # soon after a network came up, and nothing for a processor
MOST_CLIENTS: Final = 8  # a pair of servers, somebody with curl, and what these left open


class Exporter:
    """Serves what `render` gives at an address that may change. Loop thread only."""

    def __init__(self, *, address: str | None, render: Callable[[], bytes]) -> None:
        """`address` is host:port, None: nothing is served."""
        self._address = address
        self._render = render
        self._changed = asyncio.Event()
        self._failed = ""

    def set_address(self, address: str | None) -> None:
        """Serve there from now on; what is served elsewhere ends."""
        if address != self._address:
            self._address, self._failed = address, ""
            self._changed.set()

    async def run(self) -> None:
        """Until cancelled. Never raises otherwise."""
        while True:
            address = self._address
            if address is not None:
                await self._try(address)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if address is None else RETRY_S):
                    await self._changed.wait()
            self._changed.clear()

    async def _try(self, address: str) -> None:
        """Serve until the address changes; at once back when it cannot be had."""
        try:
            await self._serve(address)
        except OSError as error:
            detail = error.strerror or str(error)
            if detail != self._failed:
                fix = "is the address this board's, and the port free? correct metrics.listen"
                log.warning("exporter.unavailable", address=address, detail=detail, fix=fix)
            self._failed = detail

    async def _serve(self, address: str) -> None:
        # Loaded only where it is wanted, 1 MB; on a thread, because that takes longer than a block of sound.
        await asyncio.to_thread(importlib.import_module, "aiohttp.web")
        from aiohttp import web

        answering = web.Server(self._answer, access_log=None)

        def protocol() -> asyncio.BaseProtocol:
            full = len(answering.connections) >= MOST_CLIENTS
            return _Refusal() if full else answering()

        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        server = await loop.create_server(protocol, host.strip("[]"), int(port))
        log.info("exporter.listening", address=address)
        self._failed = ""
        try:
            await self._changed.wait()
        finally:
            server.close()
            for client in answering.connections:  # an answer takes a millisecond: nobody is in the middle of one
                client.force_close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        from aiohttp import web  # there already, `_serve` saw to that

        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="only GET\n", headers={"Allow": "GET, HEAD"})
        if request.path != PATH:
            return web.Response(status=404, text=f"the figures are at {PATH}\n")
        return web.Response(body=self._render(), headers={"Content-Type": CONTENT_TYPE})


class _Refusal(asyncio.Protocol):
    """For one client too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
