"""The boot partition as a mount: read-only but for the moments in which alto, or an installation, writes to it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from appliance.errors import AltoError

MOUNTS: Final = Path("/proc/self/mountinfo")
MOUNT_S: Final = 20.0  # a card that takes longer has worse trouble than an old status file


class CardStuck(AltoError):
    """The card cannot be made writable, or not read-only again."""

    reason = "card_stuck"


class Mount(Protocol):
    """How a card is opened for writing."""

    def writable(self) -> contextlib.AbstractContextManager[None]:
        """Within it the card takes writes; afterwards all is on the card. Raises CardStuck."""
        ...

    def close(self) -> None:
        """Read-only from now on. Raises CardStuck (somebody writes to it)."""
        ...


class Folder:
    """`Mount` of a card that is no mount: a folder, always writable."""

    @contextlib.contextmanager
    def writable(self) -> Iterator[None]:
        yield

    def close(self) -> None:
        """Nothing to close."""


class BootPartition:
    """`Mount` of a real one. `closed` is a file that says that it was alto who made it read-only."""

    def __init__(self, path: Path, closed: Path) -> None:
        self._path = path
        self._closed = closed

    @contextlib.contextmanager
    def writable(self) -> Iterator[None]:
        if not read_only(self._path):
            yield
            _flush(self._path)
            return
        self._remount("rw")
        try:
            yield
        finally:
            self._remount("ro")

    def close(self) -> None:
        if not read_only(self._path):
            self._remount("ro")
        with contextlib.suppress(OSError):
            self._closed.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._closed.touch()

    def _remount(self, how: str) -> None:
        """ro flushes by itself. As a program: mount(8) knows what else the kernel has to be told again.

        From what is mounted, not from the fstab: that names a partition by its label or its PARTUUID, which are not
        found where there are no devices (our own sandbox), and with its `nofail` that is no error.
        """
        words = ["mount", "--options-source", "mtab", "-o", f"remount,{how}", os.fspath(self._path)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=MOUNT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CardStuck(f"cannot remount {self._path} {how}: {error}") from error
        if done.returncode != 0:
            raise CardStuck(f"cannot remount {self._path} {how}: {done.stderr.strip()}")
        if read_only(self._path) is not (how == "ro"):
            raise CardStuck(f"cannot remount {self._path} {how}: mount says it is done, and it is not")


def card_mount(path: Path, closed: Path) -> Mount:
    """The file system of its own at the path, if there is one; else the folder that it is."""
    return BootPartition(path, closed) if own_file_system(path) else Folder()


def own_file_system(path: Path, mounts: Path = MOUNTS) -> bool:
    """Whether a whole file system that is not the root's is mounted there. A sandbox binds folders onto themselves,
    and to make such a one read-only would be to make the system read-only."""
    here, root = _mounted(path, mounts), _mounted(Path("/"), mounts)
    return here is not None and here[3] == "/" and (root is None or here[2] != root[2])


def read_only(path: Path, mounts: Path = MOUNTS) -> bool:
    """Whether it takes no writes now: the mount, or the file system behind it."""
    here = _mounted(path, mounts)
    return here is not None and ("ro" in here[5].split(",") or "ro" in here[-1].split(","))


def _mounted(path: Path, mounts: Path) -> list[str] | None:
    """The line of mountinfo (proc_pid_mountinfo(5)) of the topmost mount at the path."""
    lines = [line.split() for line in mounts.read_text().splitlines()]
    return next((fields for fields in reversed(lines) if len(fields) > 6 and fields[4] == os.fspath(path)), None)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
