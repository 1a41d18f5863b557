"""Two hundred stations lose one server in the same moment."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.vtime import run_jumping
from tests.simulation.storm import Storm, storm

STATIONS = 200
QUESTIONS_EACH = 3
"""A second and station, at most: two while it recovers or waits, and one right before a join."""


def rage(away_s: float, **more: Any) -> Storm:
    told = run_jumping(storm(STATIONS, away_s, **more))
    print(told.told())
    return told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("away_s", "more", "back_s"),
    [
        (5.0, {"mended": False}, 2.0),  # nobody's SDK finds it: a question each half second, a moment's grace, a join
        (30.0, {}, 1.5),  # pauses of half a second to a second, while the outage is young
        (400.0, {}, 5.5),  # later up to five seconds
        (30.0, {"frozen": True}, 3.5),  # whoever just asked a frozen server learns after 1.5 s that it must ask again
    ],
)
def test_all_are_back_within_the_longest_pause_and_spread_over_it(
    away_s: float, more: dict[str, bool], back_s: float
) -> None:
    told = rage(away_s, **more)
    assert max(told.back_s) <= back_s
    assert len(told.joined_s) == STATIONS, "nobody comes twice"
    assert told.most_in(0.1, told.joined_s) <= STATIONS * 0.3
    assert told.most_in(1.0, told.asked_s) <= STATIONS * QUESTIONS_EACH


@pytest.mark.slow
def test_a_server_that_lets_in_twenty_a_second_has_all_of_them_after_little_more_than_that_takes() -> None:
    told = rage(30.0, joins_a_second=20)
    assert max(told.back_s) <= STATIONS / 20 + 2.0
    assert told.most_in(1.0, told.asked_s) <= STATIONS * QUESTIONS_EACH
