"""The last configuration that worked, kept beside for the day when alto.yaml is half written, empty or gone.

One file, `last-good.yaml`, in the state directory: a first line of facts, then the content of alto.yaml as it was. The
facts name the file that it came from, because paths inside are relative to that one, and hold a checksum, because a
card that lost power may give back less than was written: a content that is not whole is no configuration.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from appliance.settings.files import Unreadable, read_small_file, write_private

FILE: Final = "last-good.yaml"
LIMIT_BYTES: Final = 80 * 1024  # alto.yaml may have 64 KiB; the first line holds one path
_MARK: Final = b"# alto kept this: "


@dataclass(frozen=True, slots=True)
class Kept:
    """A content of alto.yaml that worked."""

    path: Path
    """Absolute: where it lay."""
    data: bytes = field(repr=False)
    """May hold secrets."""
    status: os.stat_result = field(repr=False)
    """Of the file that keeps it."""
    at: float
    """When it was kept, seconds since 1970."""


class LastGood:
    """The one place for it in `directory`. Any thread; it waits for the disk, so not the event loop's."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / FILE

    def keep(self, path: Path, data: bytes) -> bool:
        """Keep the content that was loaded from `path`; True when that was news. Raises OSError."""
        before = self.find()
        if before is not None and (before.path, before.data) == (_absolute(path), data):
            return False
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self.file, _first_line(_absolute(path), data) + data)
        return True

    def find(self) -> Kept | None:
        """What was kept; None when nothing was, or it is damaged. Never raises."""
        try:
            content, status = read_small_file(self.file, limit_bytes=LIMIT_BYTES)
            head, _, data = content.partition(b"\n")
            facts = json.loads(head.removeprefix(_MARK))
            path, at, digest = Path(facts["file"]), float(facts["at"]), facts["blake2b"]
        except (Unreadable, ValueError, TypeError, LookupError):
            return None
        return Kept(path, data, status, at) if digest == _digest(data) else None


def same_file(path: Path, kept: Kept) -> bool:
    """Whether the content was kept from this path."""
    return _absolute(path) == kept.path


def _absolute(path: Path) -> Path:
    """Links stay: paths inside alto.yaml are relative to where it was named, not to where it lies."""
    return Path(os.path.abspath(path))


def _first_line(path: Path, data: bytes) -> bytes:
    facts = {"file": os.fspath(path), "at": round(time.time(), 3), "blake2b": _digest(data)}
    return _MARK + json.dumps(facts).encode("ascii") + b"\n"


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
