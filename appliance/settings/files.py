"""Reading a small file that a person or a power cut may have turned into anything, and writing one that stays whole.

Used for alto.yaml and for the files that hold secrets: bounded, never blocking, and with an answer in words for
whatever is found at the path instead of a text file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from appliance.settings.problems import printable, shortened

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Unreadable(Exception):
    """There is no usable file at the path. `found` and `fix` are words for a person, without any content."""

    def __init__(self, found: str, fix: str) -> None:
        super().__init__(f"{found}; {fix}")
        self.found = found
        self.fix = fix


def read_small_file(path: Path, *, limit_bytes: int) -> tuple[bytes, os.stat_result]:
    """The whole file and what fstat says of it; at most `limit_bytes` + 1 bytes are ever read. Raises Unreadable.

    The kind is looked at before the file is opened, because opening alone is enough to arm /dev/watchdog or to
    wait for ever on a named pipe.
    """
    try:
        _refuse_other_kinds(os.stat(path))
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            return _read(descriptor, limit_bytes)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as err:  # ValueError: a NUL in the path
        raise _explained(path, err) from err


def _read(descriptor: int, limit_bytes: int) -> tuple[bytes, os.stat_result]:
    status = os.fstat(descriptor)
    _refuse_other_kinds(status)  # again: it may have been replaced in between
    if status.st_size > limit_bytes:
        raise _too_large(status.st_size, limit_bytes)
    data = _read_at_most(descriptor, limit_bytes + 1)
    if len(data) > limit_bytes:  # it grew, or its size is not known beforehand (/proc)
        raise _too_large(len(data), limit_bytes)
    return data, status


def write_private(path: Path, data: bytes) -> None:
    """`write_whole`, mode 0600."""
    write_whole(path, data, mode=0o600)


def write_whole(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Give the file this content; a power cut leaves the old content or the new one, as far as the file system can
    promise it. `mode` None: FAT has none. Raises OSError."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode or 0o666)
        with open(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """The new name must be on the disk too; some file systems cannot be asked for that."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_to_others(status: os.stat_result) -> str:
    """Who else may read the file: "everybody", "its group" or "" when only its owner can."""
    if status.st_mode & stat.S_IROTH:
        return "everybody"
    return "its group" if status.st_mode & stat.S_IRGRP else ""


def _read_at_most(descriptor: int, limit_bytes: int) -> bytes:
    data = bytearray()
    while len(data) < limit_bytes and (piece := os.read(descriptor, limit_bytes - len(data))):
        data += piece
    return bytes(data)


def _refuse_other_kinds(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something that is not a file")
        raise Unreadable(kind, "give the path of a regular file")


def _too_large(size_bytes: int, limit_bytes: int) -> Unreadable:
    return Unreadable(
        f"{size_bytes} bytes", f"the file must not be larger than {limit_bytes} bytes; is it the right file?"
    )


def _explained(path: Path, err: OSError | ValueError) -> Unreadable:
    number = err.errno if isinstance(err, OSError) else None
    match number:
        case errno.ENOENT:
            return Unreadable("no such file", f"create it, or check the path {_printable(path)}")
        case errno.ENOTDIR:
            return Unreadable("no such file", f"a part of the path {_printable(path)} is not a directory")
        case errno.EACCES | errno.EPERM:
            return Unreadable("no permission to read it", _permission_fix(path))
        case errno.ELOOP:
            return Unreadable("a symbolic link that points to itself", "give the path of a regular file")
        case errno.EIO:
            return Unreadable("a read error of the disk", "the SD card is probably failing: replace it")
        case _:
            reason = os.strerror(number).lower() if number else "a path that no file can have"
            return Unreadable(reason, f"check the path {_printable(path)}")


def _permission_fix(path: Path) -> str:
    user = os.environ.get("USER") or f"user {os.geteuid()}"
    return f"let {user} read it: sudo chown {user} {_printable(path)} (or add the user to the file's group)"


def _printable(path: Path) -> str:
    return printable(shortened(str(path)))
