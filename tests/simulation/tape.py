"""What happened in one life, in the order of time: faults, log lines, leaps, and what was found wrong."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

QUIET_LEVELS: Final = frozenset({"debug"})  # not written by a station in the field, where the level is info


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. `line` is the log line, when it is one."""

    at_s: float
    what: str
    words: str
    line: Mapping[str, Any] | None = None


class Tape:
    """Remembers everything that one life said and suffered. `began_s` is the loop's time at its start."""

    def __init__(self) -> None:
        self.began_s = asyncio.get_running_loop().time()
        self.entries: list[Entry] = []
        self.breaches: list[str] = []
        """Invariants that did not hold; empty for a good life."""
        self.lines_written = 0
        """Log lines at info and above."""

    @property
    def now_s(self) -> float:
        """Seconds of this life."""
        return asyncio.get_running_loop().time() - self.began_s

    def note(self, what: str, words: str) -> None:
        self.entries.append(Entry(self.now_s, what, words))

    def breach(self, words: str) -> None:
        """Something is not as it must be. Said once for the same words."""
        if words not in self.breaches:
            self.breaches.append(words)
            self.note("BREACH", words)

    def lines(self, *events: str) -> list[tuple[float, Mapping[str, Any]]]:
        """(seconds, line) of those log events."""
        return [(e.at_s, e.line) for e in self.entries if e.line is not None and e.line["event"] in events]

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Take every log line of this process, until the block ends."""
        with structlog.testing.capture_logs(processors=[self._take]):
            yield

    def _take(self, _logger: object, level: str, line: Any) -> Any:
        self.lines_written += level not in QUIET_LEVELS
        line = dict(line)
        if line.pop("exc_info", None):
            line["traceback"] = traceback.format_exc()
        words = " ".join(f"{key}={_short(value)}" for key, value in line.items() if key != "event")
        self.entries.append(Entry(self.now_s, level, f"{line['event']} {words}", line))
        raise structlog.DropEvent

    def told(self, *, quiet: bool = True) -> str:
        """The story, one thing a line; without debug lines unless asked for."""
        return "\n".join(
            f"{_clock(entry.at_s)}  {entry.what:<8}  {entry.words}"
            for entry in self.entries
            if not (quiet and entry.what in QUIET_LEVELS)
        )


def _short(value: object) -> object:
    """A file by its name only: its folder is another one each time."""
    return value.name if isinstance(value, Path) else value


def _clock(seconds: float) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{int(hours):4d}:{int(minutes):02d}:{rest:06.3f}"
