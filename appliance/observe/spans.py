"""Figures "since the look before", when several look: none takes anything away from the periodic line.

Levels, peaks and longest times start anew each time somebody asks for them. A live view asks ten times a second; what
it saw is kept here until the next line, which then covers its whole time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import log10
from typing import Final

MAXIMA: Final = frozenset({"peak_dbfs", "callback_ms_max", "callback_gap_ms_max", "late_ms_max"})
MEANS: Final = frozenset({"level_dbfs"})  # of power

Figures = dict[str, dict[str, object]]
_Path = tuple[str, ...]


class Spans:
    """Collects looks; `joined` gives the figures of the last look, with those of a span over all looks since."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._maxima: dict[_Path, float] = {}
        self._power: dict[_Path, tuple[float, float]] = {}
        """Path → (power × seconds, seconds)."""

    def add(self, figures: Figures, now: float) -> None:
        """Somebody looked."""
        passed_s, self._since = max(now - self._since, 1e-6), now
        for path, value in _numbers(figures):
            if path[-1] in MAXIMA:
                self._maxima[path] = max(value, self._maxima.get(path, value))
            elif path[-1] in MEANS:
                power, seconds = self._power.get(path, (0.0, 0.0))
                self._power[path] = (power + 10 ** (value / 10) * passed_s, seconds + passed_s)

    def joined(self, figures: Figures, now: float) -> Figures:
        """Add this look, then give it with what the looks before it had seen; start a new span."""
        self.add(figures, now)
        out = {section: dict(values) for section, values in figures.items()}
        for path, highest in self._maxima.items():
            _put(out, path, highest)
        for path, (power, seconds) in self._power.items():
            if power > 0:
                _put(out, path, round(10 * log10(power / seconds), 1))
        self._maxima, self._power = {}, {}
        return out


def _numbers(values: Mapping[str, object], path: _Path = ()) -> Iterator[tuple[_Path, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, (*path, name))
        elif name in MAXIMA | MEANS and isinstance(value, (int, float)) and value == value:
            yield (*path, name), float(value)


def _put(values: dict[str, dict[str, object]], path: _Path, value: float) -> None:
    """Replace a figure that is there; what is gone (a voice that left) stays gone."""
    here: dict[str, object] = values  # type: ignore[assignment]
    for name in path[:-1]:
        inner = here.get(name)
        if not isinstance(inner, dict):
            return
        here[name] = inner = dict(inner)
        here = inner
    if path[-1] in here:
        here[path[-1]] = value
