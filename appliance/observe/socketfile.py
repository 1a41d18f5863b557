"""A listening Unix socket at a path: made whole, replacing a dead one, never a living one, and removed by its maker."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.errors import AltoError, Policy

LONGEST_PATH: Final = 107  # bytes of sockaddr_un.sun_path without its closing zero, unix(7)
SOCKET_MODE: Final = 0o660  # the group may look, nobody else
DIRECTORY_MODE: Final = 0o750
BACKLOG: Final = 8


class SocketUnusable(AltoError):
    """The status socket cannot be made at its path."""

    policy = Policy.ASK_HUMAN
    reason = "status_socket"


class AlreadyRunning(SocketUnusable):
    """Another station answers at the path."""

    reason = "already_running"


class SocketFile:
    """`sock` listens; `close` removes the file, if it still is the one that was made here."""

    def __init__(self, path: Path) -> None:
        """Raises SocketUnusable, AlreadyRunning."""
        self.path = path
        if len(os.fsencode(path)) > LONGEST_PATH - len(_suffix()):
            raise SocketUnusable(f"{path} is too long for a socket", fix="set status.socket to a shorter path")
        try:
            _make_directory(path.parent)
            with _one_at_a_time(path.parent):
                _sweep(path)
                _clear(path)
                self.sock = _listen(path)
            self._made = _identity(path)
        except OSError as error:
            raise SocketUnusable(
                f"{path}: {error.strerror or error}",
                fix=f"let the user of alto write in {path.parent}, or set status.socket to another path",
            ) from error

    def close(self) -> None:
        """Stop listening and remove the file. Idempotent."""
        self.sock.close()
        with contextlib.suppress(OSError):
            if _identity(self.path) == self._made:
                self.path.unlink()


def answers(path: Path) -> bool:
    """Whether a process listens at the path. Raises OSError when that cannot be found out."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:  # its queue is full: it lives
            return True
    return True


def _make_directory(directory: Path) -> None:
    for missing in reversed([d for d in (directory, *directory.parents) if not d.exists()]):
        with contextlib.suppress(FileExistsError):
            missing.mkdir(mode=DIRECTORY_MODE)
    for one in (directory, *directory.parents):
        if one.parent != one and _anybody_may_make(one.parent) and one.lstat().st_uid not in (0, os.geteuid()):
            raise SocketUnusable(f"{one} belongs to somebody else", fix="remove it, or set status.socket")


def _anybody_may_make(directory: Path) -> bool:
    """Whether another user may have made an entry here before us, as in /tmp."""
    return bool(directory.stat().st_mode & stat.S_IWOTH)


@contextlib.contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    """Of two stations that start in the same moment, the second sees the first one's socket."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # held by somebody for longer than a start takes: go on without
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _sweep(path: Path) -> None:
    """Remove what makers left that were killed half way; they carry the maker's pid."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.[0-9]*"):
        pid = left.suffix[1:]
        with contextlib.suppress(OSError):  # another station sweeps as well
            if pid.isdecimal() and not Path("/proc", pid).exists() and stat.S_ISSOCK(left.lstat().st_mode):
                left.unlink()


def _clear(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketUnusable(f"{path} is there and is no socket", fix="move it away, or set status.socket")
    if answers(path):
        raise AlreadyRunning(
            f"a station already answers at {path}",
            fix="stop it first, or give this one another identity (two under one name throw each other out)",
        )
    path.unlink()


def _listen(path: Path) -> socket.socket:
    """Made under another name and moved into place: nobody can connect before the mode is right."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    making = path.with_name(path.name + _suffix())
    try:
        with contextlib.suppress(FileNotFoundError):
            making.unlink()
        sock.bind(os.fspath(making))
        making.chmod(SOCKET_MODE)
        sock.listen(BACKLOG)
        making.rename(path)
    except OSError:
        sock.close()
        with contextlib.suppress(OSError):
            making.unlink()
        raise
    return sock


def _suffix() -> str:
    return f".{os.getpid()}"


def _identity(path: Path) -> tuple[int, int]:
    seen = path.lstat()
    return seen.st_dev, seen.st_ino
