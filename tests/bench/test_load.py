"""A gap's cause is what grew around it, and nothing that grew at another time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.bench.load import causes, gaps, seen, told
from tests.bench.trial import Cell, Trial


def line(second: int, **output: int) -> dict[str, Any]:
    return {
        "timestamp": f"2026-01-01T00:00:{second:02}.000Z",
        "output": {"xruns": 0, **output},
        "mixer": {"bridged": 0},
    }


def trial(lines: list[dict[str, Any]], broken: Mapping[str, list[tuple[float, float]]]) -> Trial:
    began_at = 1767225600.0  # the first line's second 0
    figures = {"harness_broken": 0.0}
    return Trial(Cell("alto", 0), 30.0, 2.5, figures, {}, {}, dict(broken), [lines], began_at)


def test_what_grew_around_a_gap_is_its_cause_and_what_grew_elsewhere_is_not() -> None:
    lines = [line(second, xruns=int(second >= 10)) for second in range(30)]
    held = trial(lines, {"kitchen": [(10.2, 30.0), (20.0, 40.0), (25.0, 2.0)]})
    assert gaps(held) == [(10.2, 30.0), (20.0, 40.0)]
    assert causes(10.2, seen(held)) == {"output.xruns": 1.0}
    assert causes(20.0, seen(held)) == {}
    words = list(told(held))
    assert "2 gaps, 1 jumps" in words[0]
    assert words[1].endswith("output.xruns +1")
    assert words[2].endswith("NO CAUSE")


def test_without_any_lines_there_is_no_cause() -> None:
    assert causes(1.0, [[], []]) == {}
