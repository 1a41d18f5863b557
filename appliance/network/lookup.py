"""Names to addresses, without waiting for a name server longer than somebody wants to.

`getaddrinfo` cannot be interrupted and may take half a minute when no name server answers. In asyncio's pool of threads
a few of those would hold up whatever else needs a thread. So each name has one thread at most, and an answer that comes
too late for whoever asked is kept for the next one, who would otherwise come too early again.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from aiohappyeyeballs import AddrInfoType

RESOLVER_OPTIONS: Final = "timeout:1 attempts:5"
"""The C library waits 5 s for an answer before it asks again, or asks the next name server; so a dead first one costs
5 s at each join, and one that comes back is noticed that late. A question is small enough to be asked once a second."""

KEPT_S: Final = 10.0  # twice the longest default pause between two tries; an address seldom changes that fast

Key = tuple[str, int, int]


def ask_often() -> None:
    """Have the C library ask name servers once a second, for our lookups and the SDK's. Before the first of them."""
    os.environ.setdefault("RES_OPTIONS", RESOLVER_OPTIONS)


@dataclass(eq=False)
class _Lookup:
    found: Future[list[AddrInfoType]] = field(default_factory=Future)
    ended_s: float = 0.0

    @property
    def is_stale(self) -> bool:
        return self.found.done() and time.monotonic() - self.ended_s > KEPT_S


_lookups: dict[Key, _Lookup] = {}


async def addresses(
    host: str, port: int, *, timeout_s: float, family: socket.AddressFamily = socket.AF_UNSPEC
) -> list[AddrInfoType]:
    """Where `host` is, as `socket.getaddrinfo` says it, within `timeout_s`, whatever the name servers do. Loop thread.

    Raises socket.gaierror, EAI_AGAIN when no answer came in time; UnicodeError for what cannot be a name.
    """
    key = (host, port, family)
    lookup = _lookups.get(key)
    if lookup is None or lookup.is_stale:
        lookup = _lookups[key] = _begin(key)
    waiter = asyncio.wrap_future(lookup.found)
    await asyncio.wait({waiter}, timeout=timeout_s)
    if not waiter.done():
        raise socket.gaierror(socket.EAI_AGAIN, f"no name server answered within {timeout_s:g} s")
    if _lookups.get(key) is lookup:
        del _lookups[key]
    return waiter.result()


def _begin(key: Key) -> _Lookup:
    lookup = _Lookup()
    lookup.found.set_running_or_notify_cancel()  # from here on, a waiter that is cancelled cannot cancel it
    threading.Thread(target=_look_up, args=(key, lookup), name="name-lookup", daemon=True).start()
    return lookup


def _look_up(key: Key, lookup: _Lookup) -> None:
    host, port, family = key
    try:
        found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except Exception as error:
        lookup.ended_s = time.monotonic()
        lookup.found.set_exception(error)
    else:
        lookup.ended_s = time.monotonic()
        lookup.found.set_result(list(found))
