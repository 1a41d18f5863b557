"""From what was heard and used to figures, and whether two sets of figures differ. Pure arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Final, TypeGuard

import numpy as np

from tests.bench.heard import Heard

Figures = dict[str, float]
"""Name -> value; what could not be told is missing."""

DRAWS: Final = 2000  # the ends of an interval are then steady to a few hundredths of its width
CONFIDENCE: Final = 0.95
FEWEST: Final = 3
"""Fewer runs than that on a side, and their medians tell nothing of how far they spread."""
POINTS: Final = 400
"""A slope through more marks than that is taken from every second, third … one: its pairs grow with the square."""


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median slope between all pairs (Theil-Sen), y by x: a few wild points change nothing. 0.0 below two."""
    every = len(points) // POINTS + 1
    x, y = np.asarray(points[::every], np.float64).reshape(-1, 2).T
    first, second = np.triu_indices(x.size, 1)
    apart = x[second] - x[first]
    return float(np.median((y[second] - y[first])[apart > 0] / apart[apart > 0])) if (apart > 0).any() else 0.0


def of_sound(ways: Sequence[Heard], seconds: float) -> Figures:
    """The figures of both ways of a call that was judged for `seconds`.

    The two ways stand at different delays, by where their blocks fall: what moves is told for each way by itself.
    """
    minutes = seconds / 60.0 * len(ways)
    figures = {
        "gaps_per_min": sum(len(way.gaps) for way in ways) / minutes,
        "jumps_per_min": sum(len(way.broken) - len(way.gaps) for way in ways) / minutes,
        "lost_marks": float(sum(way.lost for way in ways)),
        "level_dbfs": float(np.mean([way.level_dbfs for way in ways])),
        "harness_broken": float(sum(way.harness_broken for way in ways)),
    }
    heard = [np.array([ms for _, ms in way.marks]) for way in ways if way.marks]
    if heard:
        everything = np.concatenate(heard)
        figures |= {
            "delay_p50_ms": float(np.percentile(everything, 50)),
            "delay_p95_ms": float(np.percentile(everything, 95)),
            "delay_max_ms": float(everything.max()),
            "delay_range_ms": float(max(np.ptp(one) for one in heard)),
            "delay_slope_ms_per_min": float(max((60.0 * slope(way.marks) for way in ways if way.marks), key=abs)),
        }
    return {name: round(value, 3) for name, value in figures.items()}


def per_participant(by_count: Mapping[int, Sequence[float]]) -> float | None:
    """What one more participant costs: the slope through the medians over how many there were."""
    points = [(float(count), float(np.median(values))) for count, values in sorted(by_count.items()) if values]
    return slope(points) if len(points) > 1 else None


def interval_of_change(
    before: Sequence[float], after: Sequence[float], *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """Where the difference of the medians (after - before) lies with 95 % confidence, by the bootstrap."""
    rng = np.random.default_rng(seed)
    medians = [
        np.median(rng.choice(np.asarray(side, np.float64), (draws, len(side))), axis=1) for side in (before, after)
    ]
    edge = 50.0 * (1.0 - CONFIDENCE)
    low, high = np.percentile(medians[1] - medians[0], [edge, 100.0 - edge])
    return float(low), float(high)


def verdict(before: Sequence[float], after: Sequence[float], at_least: float) -> str:
    """`higher`, `lower`, `same` or `unclear`.

    It changed when the whole interval is beyond 0 and the medians differ by `at_least`; it is the same when it did not
    and the interval stays within twice that; else the runs were too few or too far apart to tell.
    """
    if min(len(before), len(after)) < FEWEST:
        return "unclear"
    low, high = interval_of_change(before, after)
    moved = float(np.median(after) - np.median(before))
    if abs(moved) >= at_least and (low > 0 or high < 0):
        return "higher" if moved > 0 else "lower"
    return "same" if max(abs(low), abs(high)) <= 2 * at_least else "unclear"


def grew(lines: Sequence[Mapping[str, object]]) -> Figures:
    """What grew between the first and the last of alto's `metrics` lines, of that which counts an accident."""
    if len(lines) < 2:
        return {}
    first, last = (accidents(line) for line in (lines[0], lines[-1]))
    return {name: round(last[name] - first.get(name, 0.0), 3) for name in last if last[name] > first.get(name, 0.0)}


COUNTED: Final = {
    "input": ("overruns", "dropped", "late_calls", "errors"),
    "output": ("underruns", "xruns", "late_calls", "errors"),
    "mixer": ("underruns", "errors", "trimmed_ms", "stretched_ms", "bridged", "dropped"),
    "network": ("frames_dropped", "silence_frames", "reconnects"),
    "process": ("loop_stalls", "gc_stalls", "log_lines_dropped"),
}


def accidents(line: Mapping[str, object]) -> Figures:
    """The counters of one `metrics` line under which alto counts what a gap may come from."""
    found: Figures = {}
    for section, names in COUNTED.items():
        figures = line.get(section)
        if isinstance(figures, Mapping):
            found |= {f"{section}.{name}": float(figures[name]) for name in names if _is_number(figures.get(name))}
    return found


def callbacks(lines: Sequence[Mapping[str, object]]) -> Figures:
    """How long alto's callbacks take, from its `metrics` lines: the slower of both legs; the longest of all lines."""
    found: Figures = {}
    for line, leg, name in itertools.product(lines, ("input", "output"), ("p50", "p99", "max")):
        figures = line.get(leg)
        value = figures.get(f"callback_ms_{name}") if isinstance(figures, Mapping) else None
        if _is_number(value) and (name == "max" or line is lines[-1]):
            key = f"callback_{name}_ms"
            found[key] = max(found.get(key, 0.0), round(float(value), 3))
    return found


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
