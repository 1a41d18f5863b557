"""A year of lives on virtual time; fourteen of them: `deploy/dev simulate`."""

from __future__ import annotations

import pytest

from tests.simulation.life import live
from tests.simulation.schedule import make
from tests.simulation.years import run

LIVES = 1000
"""More than a year, each fault a hundred times."""


@pytest.mark.slow
def test_a_station_keeps_its_promises_for_a_year_of_troubles() -> None:
    report = run(range(LIVES))
    print(report.told())
    assert not report.failed, report.told()
    assert report.years > 1.0


def test_a_seed_is_the_same_life_each_time() -> None:
    assert make(7) == make(7)
    first, second = live(7), live(7)
    assert first.story.splitlines() == second.story.splitlines()
    assert first.jumps == second.jumps
