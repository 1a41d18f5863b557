"""When a voice is subscribed anew because the SDK holds it back for a trouble that is over."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from appliance.network.caution import AGAIN_MIN_S, Caution, Hold

LOOK_S = 0.75
FINE = Hold(buffer_ms=60.0, jitter_ms=3.0, rtt_ms=5.0, rms=0.1)
HELD = Hold(buffer_ms=220.0, jitter_ms=3.0, rtt_ms=5.0, rms=0.1)
QUIETLY_HELD = Hold(buffer_ms=220.0, jitter_ms=3.0, rtt_ms=5.0, rms=0.001)
FAR = Hold(buffer_ms=220.0, jitter_ms=3.0, rtt_ms=300.0, rms=0.001)
UNEVEN = Hold(buffer_ms=220.0, jitter_ms=40.0, rtt_ms=5.0, rms=0.001)


def looks(
    caution: Caution, hold: Callable[[float], Hold], *, seconds: float, begin_s: float = 100.0
) -> Iterator[float]:
    """When, after the beginning, the track was to be subscribed anew."""
    for number in range(int(seconds / LOOK_S)):
        now_s = begin_s + number * LOOK_S
        if caution.outdated(now_s, {"TR_1": hold(now_s - begin_s)}):
            yield now_s - begin_s


@pytest.mark.parametrize("hold", [FINE, UNEVEN, FAR])
def test_a_short_wait_and_one_that_is_needed_are_left_alone(hold: Hold) -> None:
    assert not list(looks(Caution(), lambda _: hold, seconds=600))


def test_in_a_pause_it_is_done_soon() -> None:
    assert 2.0 <= next(looks(Caution(), lambda _: QUIETLY_HELD, seconds=10)) <= 3.0


def test_who_speaks_on_loses_no_word() -> None:
    assert not list(looks(Caution(), lambda _: HELD, seconds=600))
    again = looks(Caution(), lambda s: HELD if 1 < s < 4 else QUIETLY_HELD, seconds=20)
    assert 5.5 <= next(again) <= 7.0


def test_a_moment_of_uneven_arrival_begins_the_count_anew() -> None:
    again = looks(Caution(), lambda s: UNEVEN if 1 < s < 4 else QUIETLY_HELD, seconds=20)
    assert 5.5 <= next(again) <= 7.0


def test_where_it_does_not_last_it_is_done_ever_more_rarely() -> None:
    done = list(looks(Caution(), lambda _: QUIETLY_HELD, seconds=1000))
    pauses = [after - before for before, after in itertools.pairwise(done)]
    assert pauses[0] >= AGAIN_MIN_S
    assert all(after >= 1.9 * before for before, after in itertools.pairwise(pauses))
    assert len(done) <= 8


def test_after_a_calm_time_it_is_done_as_soon_as_at_first() -> None:
    caution = Caution()
    list(looks(caution, lambda _: QUIETLY_HELD, seconds=1000))
    done = list(looks(caution, lambda _: QUIETLY_HELD, seconds=25, begin_s=10_000.0))
    assert len(done) == 2


def test_all_tracks_that_are_held_back_are_done_at_once_and_the_others_are_not() -> None:
    caution = Caution()
    holds = {"TR_1": QUIETLY_HELD, "TR_2": QUIETLY_HELD, "TR_3": FINE}
    done = [caution.outdated(100.0 + number * LOOK_S, holds) for number in range(10)]
    assert [tracks for tracks in done if tracks] == [["TR_1", "TR_2"]]
