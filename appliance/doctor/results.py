"""What a check says, and how it is shown."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final, TextIO

EX_CONFIG: Final = 78  # sysexits.h, as all commands of alto
EX_UNAVAILABLE: Final = 69

CONFIGURATION: Final = "configuration"
NAME_COLUMNS: Final = 16
WIDTH: Final = 100


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """Works, or may work; worth a look."""
    FAIL = "fail"
    """The intercom cannot work like this."""
    SKIP = "skip"
    """Cannot be found out, or does not matter here."""


@dataclass(frozen=True, slots=True)
class Result:
    """One check: what was found and, unless all is well, what to do about it."""

    check: str
    verdict: Verdict
    found: str
    fix: str = ""


def ok(check: str, found: str) -> Result:
    return Result(check, Verdict.OK, found)


def warn(check: str, found: str, fix: str) -> Result:
    return Result(check, Verdict.WARN, found, fix)


def fail(check: str, found: str, fix: str) -> Result:
    return Result(check, Verdict.FAIL, found, fix)


def skip(check: str, found: str) -> Result:
    return Result(check, Verdict.SKIP, found)


def exit_code(results: Iterable[Result]) -> int:
    """0 when nothing failed; 78 when the configuration did; 69 otherwise."""
    failed = [result.check for result in results if result.verdict is Verdict.FAIL]
    if not failed:
        return 0
    return EX_CONFIG if CONFIGURATION in failed else EX_UNAVAILABLE


def as_json(results: Sequence[Result]) -> dict[str, object]:
    """For programs."""
    return {"healthy": exit_code(results) == 0, "results": [asdict(result) for result in results]}


_SIGN: Final = {
    # verdict: (sign, where only ASCII arrives, SGR colour)
    Verdict.FAIL: ("✖", "X", "1;31"),
    Verdict.WARN: ("▲", "!", "33"),
    Verdict.OK: ("●", "+", "32"),
    Verdict.SKIP: ("○", "-", "90"),
}


def render(results: Sequence[Result], *, out: TextIO | None = None, env: Mapping[str, str] = os.environ) -> str:
    """What is wrong first, each with its fix; then what is well. Plain unless `out` is a terminal."""
    terminal = out is not None and out.isatty()
    look = _Look(
        unicode=out is None or (getattr(out, "encoding", None) or "").lower().startswith("utf"),
        colours=terminal and not env.get("NO_COLOR") and env.get("TERM", "dumb") != "dumb",
    )
    order = (Verdict.FAIL, Verdict.WARN, Verdict.OK, Verdict.SKIP)
    blocks = [[look.lines(result) for result in results if result.verdict is verdict] for verdict in order]
    parts = ["\n".join(block) for block in blocks if block]
    return _summary(results) + "\n\n" + "\n\n".join(parts)


def _summary(results: Sequence[Result]) -> str:
    failed = sum(result.verdict is Verdict.FAIL for result in results)
    warned = sum(result.verdict is Verdict.WARN for result in results)
    if not failed and not warned:
        return "Nothing is wrong with this box."
    parts = [_count(failed, "problem")] * bool(failed) + [_count(warned, "warning")] * bool(warned)
    return f"{' and '.join(parts)}; the first is the likeliest cause."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


@dataclass(frozen=True, slots=True)
class _Look:
    unicode: bool
    colours: bool

    def lines(self, result: Result) -> str:
        pretty, plain, colour = _SIGN[result.verdict]
        sign = pretty if self.unicode else plain
        if self.colours:
            sign = f"\x1b[{colour}m{sign}\x1b[0m"
        rows = _wrapped(self._clean(result.found), "")
        if result.fix and result.verdict in (Verdict.FAIL, Verdict.WARN):
            rows += _wrapped(self._clean(result.fix), "→ " if self.unicode else "-> ")
        indent = "\n" + " " * (NAME_COLUMNS + 3)
        return f"{sign} {result.check:<{NAME_COLUMNS}} {indent.join(rows)}"

    def _clean(self, text: str) -> str:
        shown = "".join(character if character.isprintable() else " " for character in text)
        return shown if self.unicode else shown.encode("ascii", "replace").decode()


def _wrapped(text: str, before: str) -> list[str]:
    width = WIDTH - NAME_COLUMNS - 3
    return textwrap.wrap(
        text, width, initial_indent=before, subsequent_indent=" " * len(before), break_on_hyphens=False
    ) or [before]
