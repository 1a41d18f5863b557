"""What systemd is told over NOTIFY_SOCKET: ready, reloading, stopping, a sentence, and a sign of life.

Without the variable (no systemd, or no Type=notify) everything here does nothing. Nothing here raises or blocks: a
full or missing socket loses the message, never the call.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final

LONGEST_STATUS: Final = 200  # characters that `systemctl status` shows on one line


class Notifier:
    """One service's line to systemd. Any thread."""

    def __init__(self, *, env: Mapping[str, str] = os.environ, pid: int | None = None) -> None:
        self._address = _address(env.get("NOTIFY_SOCKET", ""))
        self.watchdog_s = _watchdog_s(env, os.getpid() if pid is None else pid)

    @property
    def enabled(self) -> bool:
        """Whether anybody listens."""
        return self._address is not None

    def ready(self, status: str = "") -> bool:
        """The service is up, or up again after `reloading`."""
        return self._send("READY=1", *_status(status))

    def reloading(self, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> bool:
        """A changed configuration is being taken up; `ready` ends it (Type=notify-reload)."""
        return self._send("RELOADING=1", f"MONOTONIC_USEC={monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> bool:
        """The service is going down by itself or by request."""
        return self._send("STOPPING=1", *_status(status))

    def status(self, text: str) -> bool:
        """The sentence that `systemctl status` shows."""
        return self._send(*_status(text))

    def watchdog(self) -> bool:
        """A sign of life; due every half of `watchdog_s` seconds, when that is not None."""
        return self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> bool:
        """True when systemd took the message."""
        if self._address is None or not lines:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except (OSError, ValueError):
            return False
        return True


def _address(given: str) -> str | None:
    """A path, or with a leading @ a name in the abstract namespace; anything else (vsock) is not for us."""
    if given.startswith("@"):
        return "\0" + given[1:]
    return given if given.startswith("/") else None


def _watchdog_s(env: Mapping[str, str], pid: int) -> float | None:
    """How soon systemd kills a silent service; None: never, or another process is meant."""
    try:
        usec = int(env.get("WATCHDOG_USEC", "0"))
        meant = int(env.get("WATCHDOG_PID") or pid)
    except ValueError:
        return None
    return usec / 1e6 if usec > 0 and meant == pid else None


def _status(text: str) -> tuple[str, ...]:
    return (f"STATUS={' '.join(text.split())[:LONGEST_STATUS]}",) if text.strip() else ()
