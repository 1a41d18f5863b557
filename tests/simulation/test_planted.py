"""The simulation finds bugs: each that is planted, within a few lives."""

from __future__ import annotations

import pytest

from tests.simulation.life import live
from tests.simulation.planted import PLANTED, Planted

LIVES = 60


@pytest.mark.slow
@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name.replace(" ", "-"))
def test_a_planted_bug_is_found_and_told_as_a_story(bug: Planted) -> None:
    for seed in range(LIVES):
        with bug.plant():
            life = live(seed)
        if life.breaches:
            print(f"{bug.name}: seed {seed}: {life.breaches[0]}")
            assert "FAULT" in life.story or "state" in life.story
            assert life.breaches[0] in life.story or "nobody took" in life.breaches[0]
            assert not live(seed).breaches, "the same life without the bug"
            return
    pytest.fail(f"{bug.name} was not found in {LIVES} lives")
