"""Two hundred stations lose one server in the same moment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.harness.vtime import run_jumping
from tests.simulation.storm import Storm, storm
from tests.simulation.years import processes

STATIONS: Final = 200
QUESTIONS_EACH: Final = 3
"""A second and station, at most: two while it recovers or waits, and one right before a join."""

STORMS: Final[Mapping[str, dict[str, Any]]] = {
    "5 s, not found by the SDK": {"away_s": 5.0, "mended": False},
    "30 s": {"away_s": 30.0},
    "7 min": {"away_s": 420.0},
    "30 s frozen": {"away_s": 30.0, "frozen": True},
    "30 s, lets in 20 a second": {"away_s": 30.0, "joins_a_second": 20},
}


def rage(name: str) -> Storm:
    return run_jumping(storm(STATIONS, **STORMS[name]))


@pytest.fixture(scope="module")
def storms() -> dict[str, Storm]:
    with processes(os.cpu_count() or 1) as pool:
        return dict(zip(STORMS, pool.map(rage, STORMS), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "back_s"),
    [
        ("5 s, not found by the SDK", 2.0),  # a question each half second, a moment's grace, a join
        ("30 s", 1.5),  # pauses of half a second to a second, while the outage is young
        ("7 min", 5.5),  # later up to five seconds
        ("30 s frozen", 3.5),  # whoever just asked a frozen server learns after 1.5 s that it must ask again
    ],
)
def test_all_are_back_within_the_longest_pause_and_spread_over_it(
    storms: dict[str, Storm], name: str, back_s: float
) -> None:
    told = storms[name]
    print(told.told())
    assert max(told.back_s) <= back_s
    assert len(told.joined_s) == STATIONS, "nobody comes twice"
    assert told.most_in(0.1, told.joined_s) <= STATIONS * 0.3
    assert told.most_in(1.0, told.asked_s) <= STATIONS * QUESTIONS_EACH


@pytest.mark.slow
def test_a_server_that_lets_in_twenty_a_second_has_all_of_them_after_little_more_than_that_takes(
    storms: dict[str, Storm],
) -> None:
    told = storms["30 s, lets in 20 a second"]
    print(told.told())
    assert max(told.back_s) <= STATIONS / 20 + 2.0
    assert told.most_in(1.0, told.asked_s) <= STATIONS * QUESTIONS_EACH
