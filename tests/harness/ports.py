"""Ports on 127.0.0.1 that nobody uses, so that test runs side by side do not meet."""

from __future__ import annotations

import socket
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """`count` different ports, each free for TCP and UDP at the moment of asking.

    Another process can still take one before it is used: whoever starts a server with them tries again with others.
    """
    with ExitStack() as held:
        return [_hold_one(held) for _ in range(count)]


def free_port() -> int:
    """One of `free_ports`."""
    return free_ports(1)[0]


def _hold_one(held: ExitStack) -> int:
    for _ in range(100):
        tcp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        udp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        tcp.bind(("127.0.0.1", 0))
        port = int(tcp.getsockname()[1])
        try:
            udp.bind(("127.0.0.1", port))
        except OSError:
            continue
        return port
    raise OSError("no port on 127.0.0.1 is free for both TCP and UDP")
