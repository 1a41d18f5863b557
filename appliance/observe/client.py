"""Asking a running station over its status socket; for the commands of the terminal, so plain and blocking."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from appliance.errors import AltoError

ANSWER_S: Final = 3.0  # a station whose loop is stuck for longer has no answer worth waiting for
LINE_BYTES: Final = 1024 * 1024
SOCKETS: Final = "*.sock"


class StationError(AltoError):
    """A running station could not be asked."""

    reason = "station"


class NoStation(StationError):
    """Nobody answers at the socket."""

    reason = "no_station"


class NotAllowed(StationError):
    """The socket is there and this user may not use it."""

    reason = "not_allowed"


class StationSilent(StationError):
    """The station took the question and did not answer in time, or answered nonsense."""

    reason = "station_silent"


class Refused(StationError):
    """The station answered that it will not."""

    reason = "refused"


def choose(wanted: Path, runtime: Path) -> Path:
    """The socket to ask: the wanted one, or the only one that is there when that is another."""
    if wanted.exists():
        return wanted
    there = _sockets(runtime)
    return there[0] if len(there) == 1 else wanted


def query(path: Path, *, deadline_s: float = ANSWER_S) -> dict[str, Any]:
    """The station's status now. Raises StationError."""
    with _ask(path, {"command": "status"}, deadline_s) as channel:
        return _Lines(channel, path).next()


def watch(path: Path, *, interval_s: float = 0.2, deadline_s: float = ANSWER_S) -> Iterator[dict[str, Any]]:
    """The station's status again and again, until it ends. Raises StationError."""
    with _ask(path, {"command": "watch", "interval_s": interval_s}, deadline_s + interval_s) as channel:
        lines = _Lines(channel, path)
        while True:
            yield lines.newest()


class Recording:
    """Sound as the station hears or says it. Iterating gives little-endian int16 PCM until it ends."""

    def __init__(self, lines: _Lines, header: dict[str, Any]) -> None:
        self.rate_hz = int(header["rate_hz"])
        self.channels = int(header["channels"])
        self._lines = lines

    def __iter__(self) -> Iterator[bytes]:
        return self._lines.rest()


@contextlib.contextmanager
def record(path: Path, *, seconds: float, source: str = "mix", deadline_s: float = ANSWER_S) -> Iterator[Recording]:
    """Record `mix`, `microphone` or `both`. Raises StationError."""
    with _ask(path, {"command": "record", "source": source, "seconds": seconds}, deadline_s) as channel:
        lines = _Lines(channel, path)
        header = lines.next()
        if not all(isinstance(header.get(name), int) for name in ("rate_hz", "channels")):
            raise StationSilent(f"{path} answered something else than a recording", fix="is it the same version?")
        yield Recording(lines, header)


# ---- the connection ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _ask(path: Path, request: dict[str, object], deadline_s: float) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel, _explained(path):
        channel.settimeout(deadline_s)
        channel.connect(os.fspath(path))
        channel.sendall(json.dumps(request).encode() + b"\n")
        yield channel


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What the system says, in words that tell what to do."""
    try:
        yield
    except FileNotFoundError as error:
        raise NoStation(f"no station runs at {path}", fix=_where_else(path)) from error
    except ConnectionRefusedError as error:
        raise NoStation(f"the station at {path} ended without a goodbye", fix=_where_else(path)) from error
    except PermissionError as error:
        raise NotAllowed(f"this user may not ask {path}", fix=_group_fix(path)) from error
    except TimeoutError as error:
        raise StationSilent(
            f"the station at {path} does not answer", fix='it may be overloaded: look at "journalctl -u alto"'
        ) from error
    except OSError as error:
        raise NoStation(f"{path}: {error.strerror or error}", fix=_where_else(path)) from error


class _Lines:
    """JSON lines out of a socket, then whatever follows."""

    def __init__(self, channel: socket.socket, path: Path) -> None:
        self._channel = channel
        self._path = path
        self._rest = b""

    def next(self) -> dict[str, Any]:
        while b"\n" not in self._rest:
            chunk = self._channel.recv(65536)
            if not chunk or len(self._rest) > LINE_BYTES:
                raise NoStation(f"the station at {self._path} hung up", fix="it stops or restarts: try again")
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return _checked(line, self._path)

    def newest(self) -> dict[str, Any]:
        """The last line that is here already, so that who draws slowly does not fall behind; or the next to come."""
        answer = self.next()
        while b"\n" in self._rest:
            answer = self.next()
        return answer

    def rest(self) -> Iterator[bytes]:
        while True:
            chunk, self._rest = self._rest or self._channel.recv(65536), b""
            if not chunk:
                return
            yield chunk


def _checked(line: bytes, path: Path) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise StationSilent(f"{path} answered something else than a station", fix="is it alto's socket?")
    if "error" in answer:
        raise Refused(str(answer["error"]), fix=str(answer.get("fix", "")))
    return answer


def _sockets(directory: Path) -> list[Path]:
    try:
        return sorted(directory.glob(SOCKETS))
    except OSError:
        return []


def _where_else(path: Path) -> str:
    others = [other.name for other in _sockets(path.parent) if other != path]
    if others:
        return f"stations here: {', '.join(others)}; choose one with --socket {path.parent / others[0]}"
    return 'start it with "alto run", or "systemctl start alto"'


def _group_fix(path: Path) -> str:
    try:
        group = grp.getgrgid(path.stat().st_gid).gr_name
    except (OSError, KeyError):
        return "use sudo"
    return f"use sudo, or join its group: sudo usermod -aG {group} $USER, then log in again"
