"""Level meters and columns of text for a terminal: pure, and safe whatever a participant calls itself."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Final, NamedTuple

FLOOR_DBFS: Final = -60.0  # quieter than a quiet room: the left end of a meter
WARM_DBFS: Final = -12.0  # loud speech
HOT_DBFS: Final = -3.0  # close to clipping
SILENT_DBFS: Final = -75.0  # below any microphone's noise: a muted or missing one
FALL_DB_PER_S: Final = 20.0  # how fast a held peak comes down; slow enough to be read


class Span(NamedTuple):
    """A piece of text with the name of its style (see `watch.STYLES`)."""

    text: str
    style: str = ""


Line = list[Span]


@dataclass(frozen=True, slots=True)
class Look:
    """What the terminal can show."""

    width: int = 80
    unicode: bool = True

    def sign(self, pretty: str, plain: str) -> str:
        return pretty if self.unicode else plain


def meter(level_dbfs: float | None, cells: int, look: Look, *, peak_dbfs: float | None = None) -> Line:
    """A bar of `cells` columns, green to red, with the held peak as a mark."""
    lit = _position(level_dbfs, cells)
    peak = _position(peak_dbfs, cells) - 1
    line: Line = []
    for cell in range(cells):
        if cell < lit:
            span = Span(look.sign("■", "#"), _heat(cell, cells))
        elif cell == peak:
            span = Span(look.sign("▪", "|"), _heat(cell, cells))
        else:
            span = Span(look.sign("·", "."), "dim")
        line.append(span)
    return joined(line)


def level_text(level_dbfs: float | None) -> str:
    """`-18 dB` in nine columns, or that there is nothing to hear."""
    if level_dbfs is None or level_dbfs < SILENT_DBFS:
        return "   silent"
    return f"{level_dbfs:6.0f} dB"


def joined(line: Line) -> Line:
    """Neighbours of one style as one span."""
    out: Line = []
    for span in line:
        if out and out[-1].style == span.style:
            out[-1] = Span(out[-1].text + span.text, span.style)
        else:
            out.append(span)
    return out


@dataclass(slots=True)
class Peaks:
    """Holds peaks and lets them fall. `now` is in monotonic seconds."""

    _held: dict[str, tuple[float, float]] = field(default_factory=dict)

    def hold(self, name: str, level_dbfs: float | None, now: float) -> float | None:
        """The held peak of this meter."""
        highest, at = self._held.get(name, (float("-inf"), now))
        fallen = highest - FALL_DB_PER_S * (now - at)
        level = float("-inf") if level_dbfs is None else level_dbfs
        self._held[name] = (max(level, fallen), now)
        return self._held[name][0] if self._held[name][0] > FLOOR_DBFS else None


def columns(text: str) -> int:
    """How many columns a terminal needs for it."""
    return sum(_width(character) for character in text)


def fit(text: str, wanted: int, look: Look) -> str:
    """Exactly `wanted` columns: cut with a mark or filled with blanks, without anything that steers a terminal."""
    text = printable(text, look)
    if columns(text) > wanted:
        mark = look.sign("…", "~")
        while text and columns(text) > wanted - 1:
            text = text[:-1]
        text += mark
    return text + " " * (wanted - columns(text))


def printable(text: str, look: Look) -> str:
    """Escape sequences from a name somebody chose, and what the terminal cannot show, become question marks."""
    clean = "".join(character if character.isprintable() else "?" for character in text)
    return clean if look.unicode else clean.encode("ascii", "replace").decode()


def _position(level_dbfs: float | None, cells: int) -> int:
    if level_dbfs is None or level_dbfs != level_dbfs:
        return 0
    return round(min(max((level_dbfs - FLOOR_DBFS) / -FLOOR_DBFS, 0.0), 1.0) * cells)


def _heat(cell: int, cells: int) -> str:
    dbfs = FLOOR_DBFS + (cell + 1) / cells * -FLOOR_DBFS
    return "bad" if dbfs > HOT_DBFS else "warn" if dbfs > WARM_DBFS else "good"


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
