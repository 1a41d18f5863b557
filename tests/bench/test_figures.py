"""The bench's own arithmetic: slopes, costs, causes, and the difference between noise and change."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.figures import callbacks, grew, interval_of_change, of_sound, per_participant, slope, verdict
from tests.bench.heard import Broken, Heard


def way(marks: list[tuple[float, float]], broken: tuple[Broken, ...] = ()) -> Heard:
    return Heard(tuple(marks), 0, broken, -18.0, 0)


def test_a_slope_is_not_moved_by_a_few_wild_points() -> None:
    points = [(x, 3.0 * x + 7.0) for x in range(100)]
    points[10] = (10, 5000.0)
    points[90] = (90, -5000.0)
    assert slope(points) == pytest.approx(3.0)


def test_a_step_at_one_end_bends_no_slope_as_it_bends_the_mean_of_all_slopes() -> None:
    """Five marks of a hundred came late together: whoever averages sees 0.3 ms a second, and nothing grows."""
    points = [(float(x), 90.0 + (50.0 if x >= 95 else 0.0)) for x in range(100)]
    assert slope(points) == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("points", [[], [(1.0, 2.0)], [(1.0, 2.0), (1.0, 9.0)]])
def test_there_is_no_slope_without_two_moments(points: list[tuple[float, float]]) -> None:
    assert slope(points) == 0.0


def test_a_slope_through_thousands_of_marks_is_the_same() -> None:
    assert slope([(x, 0.5 * x) for x in range(5000)]) == pytest.approx(0.5)


def test_what_moves_is_told_for_each_way_by_itself() -> None:
    still = [(float(s), 100.0) for s in range(0, 60, 2)]
    growing = [(float(s), 50.0 + s / 10) for s in range(0, 60, 2)]
    figures = of_sound([way(still), way(growing)], 60.0)
    assert figures["delay_range_ms"] == pytest.approx(5.8)
    assert figures["delay_slope_ms_per_min"] == pytest.approx(6.0)
    assert figures["delay_max_ms"] == 100.0


def test_gaps_and_jumps_count_for_each_minute_of_each_way() -> None:
    broken = (Broken(1.0, 20.0), Broken(2.0, 2.5), Broken(3.0, 0.0))
    figures = of_sound([way([], broken), way([])], 30.0)
    assert (figures["gaps_per_min"], figures["jumps_per_min"]) == (1.0, 2.0)
    assert "delay_p50_ms" not in figures


def test_a_further_participant_costs_the_slope_through_the_medians() -> None:
    assert per_participant({0: [10, 11, 90], 8: [19, 18, 19], 3: [14]}) == pytest.approx(1.0)
    assert per_participant({0: [10.0]}) is None


def test_rounds_of_one_build_are_noise() -> None:
    rng = np.random.default_rng(1)
    before, after = rng.normal(90, 0.5, 9), rng.normal(90, 0.5, 9)
    low, high = interval_of_change(list(before), list(after))
    assert low < 0 < high
    assert verdict(list(before), list(after), 2.0) == "same"


@pytest.mark.parametrize(
    ("after", "word"),
    [([95.0, 96.0, 94.0], "higher"), ([80.0, 81.0, 79.0], "lower"), ([90.5, 91.5, 89.5], "same")],
)
def test_a_change_is_told_from_three_rounds_that_do_not_overlap(after: list[float], word: str) -> None:
    assert verdict([90.0, 91.0, 89.0], after, 2.0) == word


@pytest.mark.parametrize("after", [[95.0, 96.0], [70.0, 130.0, 95.0]])
def test_too_few_rounds_or_too_wide_ones_tell_nothing(after: list[float]) -> None:
    assert verdict([90.0, 91.0, 89.0], after, 2.0) == "unclear"


def test_a_gaps_causes_are_the_counters_that_grew() -> None:
    lines = [
        {"output": {"xruns": 2, "underruns": 1}, "mixer": {"trimmed_ms": 10.0}},
        {"output": {"xruns": 5, "underruns": 1}, "mixer": {"trimmed_ms": 22.5}},
    ]
    assert grew(lines) == {"output.xruns": 3.0, "mixer.trimmed_ms": 12.5}
    assert grew(lines[:1]) == {}


def test_callbacks_are_as_slow_as_the_slower_leg() -> None:
    lines = [
        {"input": {"callback_ms_p99": 9.0, "callback_ms_max": 4.0}, "output": {}},
        {"input": {"callback_ms_p99": 0.2, "callback_ms_max": 1.0}, "output": {"callback_ms_p99": 0.4}},
    ]
    assert callbacks(lines) == {"callback_p99_ms": 0.4, "callback_max_ms": 4.0}
