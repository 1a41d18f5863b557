"""The pauses between retries, for random policies and a century of attempts."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from appliance.backoff import Backoff

policies = st.tuples(st.floats(0.1, 60.0), st.floats(0.5, 600.0)).map(lambda p: Backoff(min(p), max(p)))


@given(policies, st.integers(1, 10_000_000), st.integers())
def test_no_pause_exceeds_the_cap_or_falls_below_half_the_shortest(policy: Backoff, attempt: int, seed: int) -> None:
    pause_s = policy.pause_s(attempt, random.Random(seed))
    assert policy.min_s / 2 <= pause_s <= policy.max_s


def test_pauses_double_until_the_cap() -> None:
    class NoJitter(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    policy = Backoff(0.5, 5.0)
    assert [policy.pause_s(n, NoJitter()) for n in range(1, 7)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_three_hundred_stations_do_not_come_back_together() -> None:
    """A tenth of the pause holds no more than a third of them: half the pause is spread evenly."""
    pauses = [Backoff(0.5, 5.0).pause_s(9, random.Random(seed)) for seed in range(300)]
    fullest = max(sum(low <= p < low + 0.5 for p in pauses) for low in (2.5, 3.0, 3.5, 4.0, 4.5))
    assert fullest < 100
