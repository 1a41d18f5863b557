"""A run against a baseline: what changed, and what is only noise."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from tests.bench.figures import verdict
from tests.bench.trial import Cell

Values = Mapping[str, Mapping[str, list[float]]]
"""Cell in words -> figure -> one value a round."""

MATTERS: Final = {
    "delay_p50_ms": 2.0,
    "delay_p95_ms": 3.0,
    "delay_range_ms": 5.0,
    "delay_slope_ms_per_min": 0.5,
    "gaps_per_min": 0.5,
    "jumps_per_min": 0.5,
    "level_dbfs": 0.5,
    "cpu_percent": 1.0,
    "rss_mb": 3.0,
    "start_s": 0.1,
    "callback_p99_ms": 0.2,
}
"""Figure -> what a change has to be at least: about what rounds of one build differ by on a quiet machine."""
EITHER_IS_WORSE: Final = frozenset({"level_dbfs"})


def save(path: Path, cells: Mapping[Cell, Mapping[str, list[float]]]) -> None:
    """Write a baseline: figures only."""
    values = {
        str(cell): {name: figures[name] for name in MATTERS if name in figures} for cell, figures in cells.items()
    }
    path.write_text(json.dumps(dict(sorted(values.items())), indent=1) + "\n")


def load(path: Path) -> Values:
    """Read what `save` wrote."""
    values: Values = json.loads(path.read_text())
    return values


def changes(before: Values, cells: Mapping[Cell, Mapping[str, list[float]]]) -> Iterator[tuple[str, bool]]:
    """(a line for a person, whether it is for the worse) for each figure that both runs have."""
    for cell, after in sorted(cells.items()):
        for figure, at_least in MATTERS.items():
            old, new = before.get(str(cell), {}).get(figure), after.get(figure)
            if old and new:
                word = verdict(old, new, at_least)
                worse = word == "higher" or (word == "lower" and figure in EITHER_IS_WORSE)
                yield f"{word:>8}  {cell}: {figure} {np.median(old):.2f} -> {np.median(new):.2f}", worse
