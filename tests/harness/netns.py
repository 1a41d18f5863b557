"""Networks of the tests' own: a switch, and machines on it, each in a network namespace.

A namespace lives as long as the process that holds it, and that process dies with the test run, however that dies: so
nothing has a name that could collide, and nothing is left behind. Needs root.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from tests.harness.processes import end, spawn
from tests.harness.wait import until

T = TypeVar("T")

NEEDS_ROOT: Final = "needs root (ip netns)"
SUBNET: Final = "10.77.0"
"""Of every switch: they do not know each other."""
INTERFACE: Final = "eth0"
"""Each machine's one card."""
READY_S: Final = 5.0
_RESOLVING: Final = (
    *("unshare", "--mount", "--propagation", "private", "--"),
    *("sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"'),
)
_CLONE_NEWNET: Final = 0x40000000


def may_make_networks() -> bool:
    """Whether this process may make namespaces and cables."""
    return os.geteuid() == 0


class Namespace:
    """A network namespace with `lo` up and nothing else. Make it on the main thread (see `spawn`)."""

    def __init__(self) -> None:
        self._holder: Final = spawn(["unshare", "--net", "--", "sleep", "infinity"])
        self._inside: ThreadPoolExecutor | None = None
        self._resolv_conf: Path | None = None
        until(self._is_apart, READY_S, "a network namespace")
        self.ip("link", "set", "lo", "up")

    @property
    def pid(self) -> int:
        """A process that is inside, as `ip link set … netns` wants it."""
        return self._holder.pid

    @property
    def words(self) -> tuple[str, ...]:
        """What comes before a command that shall run inside; its process id is the command's."""
        inside = ("nsenter", f"--net={self._path}", "--")
        return (*inside, *_RESOLVING, str(self._resolv_conf)) if self._resolv_conf else inside

    def resolve_by(self, resolv_conf: Path) -> None:
        """Have what is started inside from now on look names up as this file says, in a mount namespace of its own."""
        self._resolv_conf = resolv_conf

    @property
    def _path(self) -> str:
        return f"/proc/{self.pid}/ns/net"

    def ip(self, *words: str) -> None:
        """`ip WORDS…` inside; fails with what it said."""
        done = subprocess.run([*self.words, "ip", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr.strip()}"

    def run(self, call: Callable[[], T]) -> T:
        """`call()` on a thread of ours that is inside: sockets that it makes belong there."""
        if self._inside is None:
            self._inside = ThreadPoolExecutor(1, "netns", initializer=_enter, initargs=(self._path,))
        return self._inside.submit(call).result()

    def close(self) -> None:
        """Let it go; it vanishes with the last process inside. Idempotent."""
        if self._inside is not None:
            self._inside.shutdown()
        end(self._holder)

    def _is_apart(self) -> bool:
        assert self._holder.poll() is None, "unshare ended: no right to make a network namespace"
        return os.readlink(self._path) != os.readlink("/proc/self/ns/net")


class Machine(Namespace):
    """A namespace with one cable to a `Switch`."""

    def __init__(self, switch: Switch, number: int) -> None:
        super().__init__()
        self.address: Final = f"{SUBNET}.{number}"
        self._switch: Final = switch
        self._port: Final = f"port{number}"
        switch.ip(
            *("link", "add", self._port, "type", "veth"),
            *("peer", "name", INTERFACE, "netns", str(self.pid)),
        )
        switch.ip("link", "set", self._port, "master", "lan", "up")
        self.ip("address", "add", f"{self.address}/24", "dev", INTERFACE)
        self.ip("link", "set", INTERFACE, "up")

    def unplug(self) -> None:
        """Pull the cable at the switch: the machine sees that its carrier is gone, and keeps address and routes."""
        self._switch.ip("link", "set", self._port, "down")

    def plug(self) -> None:
        """Put the cable back."""
        self._switch.ip("link", "set", self._port, "up")

    def down(self) -> None:
        """`ip link set eth0 down` on the machine itself: its routes go, each send fails at once."""
        self.ip("link", "set", INTERFACE, "down")

    def up(self) -> None:
        """The opposite."""
        self.ip("link", "set", INTERFACE, "up")

    def deafen(self) -> None:
        """The switch drops what it gets from and for this machine, which sees nothing of it: its carrier stays."""
        self._switch.ip("link", "set", self._port, "nomaster")

    def undeafen(self) -> None:
        """The opposite."""
        self._switch.ip("link", "set", self._port, "master", "lan")


class Switch(Namespace):
    """Where the machines' cables meet: a bridge in a namespace of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._machines: Final = ExitStack()
        self._count = 0
        # No multicast snooping: for the first seconds it would hold back what the machines say to find each other.
        self.ip("link", "add", "lan", "type", "bridge", "mcast_snooping", "0")
        self.ip("link", "set", "lan", "up")

    def machine(self) -> Machine:
        """One more machine, with the next address. Main thread."""
        self._count += 1
        machine = Machine(self, self._count)
        self._machines.callback(machine.close)
        return machine

    def close(self) -> None:
        """Let all machines go, and the switch. Idempotent."""
        self._machines.close()
        super().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _enter(path: str) -> None:
    """Move this thread alone into a network namespace (Python has os.setns from 3.12 on)."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(path) as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
