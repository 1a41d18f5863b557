"""What is wrong with a configuration, and where each value of it came from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

UNKNOWN_KEY: Final = "unknown key"
MISSING: Final = "missing"
GIVEN_TWICE: Final = "given twice"

_LONGEST: Final = 100  # characters of a key or a path: more than any that is meant

_STATES: Final = frozenset({UNKNOWN_KEY, MISSING, GIVEN_TWICE})
"""What is found when it is not a value that is found."""


class Severity(StrEnum):
    """Whether alto can start in spite of it."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where, and what to do about it. Never holds a secret."""

    file: str
    """The path as it was given, or `flag --room`, or `environment LIVEKIT_URL`."""
    line: int
    """From 1; 0 where there are no lines (a flag, an environment variable)."""
    column: int
    """In characters, from 1; 0 where there are no lines."""
    key: str
    """The dotted key; empty when the problem is the file's, not a key's."""
    found: str
    allowed: str
    fix: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        found = self.found if self.found in _STATES else f"found: {self.found}"
        parts = [f"{shortened(self.key)}: {found}" if self.key else found]
        parts += [f"allowed: {self.allowed}"] if self.allowed else []
        return printable(f"{place}: " + "; ".join([*parts, self.fix]))

    def as_dict(self) -> dict[str, object]:
        """For programs (`alto check --json`)."""
        return asdict(self)


def shortened(text: str) -> str:
    """As much of it as a message can hold."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def printable(text: str) -> str:
    """On one line, and with nothing that moves a terminal's cursor."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "�" for c in text)


class Source(StrEnum):
    """Which of the places that are looked at had the value; the first one wins."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    CREDENTIAL = "credential"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from. `str()` is what people read: `flag --room`, `alto.yaml:12`, `default`."""

    source: Source
    name: str = ""
    """The flag, the variable, the file's path or the credential's name."""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        match self.source:
            case Source.DEFAULT:
                return "default"
            case Source.FILE:
                return f"{self.name}:{self.line}"
            case _:
                return f"{self.source} {self.name}"

    def problem(self, key: str, found: str, allowed: str, fix: str, severity: Severity = Severity.ERROR) -> Problem:
        """A problem with the value that came from here."""
        file = self.name if self.source is Source.FILE else str(self)
        return Problem(file, self.line, self.column, key, found, allowed, fix, severity)


DEFAULT: Final = Origin(Source.DEFAULT)


def in_order(problems: list[Problem]) -> tuple[Problem, ...]:
    """As a reader goes through the file; what is not in the file comes after it."""
    return tuple(sorted(problems, key=lambda problem: (problem.line == 0, problem.line, problem.column)))
