"""When a worn process is replaced: for its size never in a conversation; never often, never without a reason."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from appliance.restart import (
    APART_S,
    BEYOND,
    LOOK_S,
    QUIET_DBFS,
    QUIET_S,
    SILENCE_DBFS,
    STUCK_S,
    Look,
    Reason,
    RestartJudge,
    loudest_dbfs,
)

LIMIT_MB = 200
GROWN = Look(rss_mb=LIMIT_MB + 1, in_room=True)
HUGE = Look(rss_mb=LIMIT_MB * BEYOND + 1, in_room=True)
STUCK = Look(rss_mb=90, in_room=True, stuck_s=STUCK_S)
SPEECH = Look(rss_mb=LIMIT_MB + 1, in_room=True, loudest_dbfs=-25.0)


def judge(
    *looks: Look, old_s: float = 2 * APART_S, limit_mb: float = LIMIT_MB, replaces: bool = False
) -> Reason | None:
    """What is decided at the last of the looks, `LOOK_S` apart, of which the first is at `old_s`."""
    one = RestartJudge(started_s=0.0, replaces=replaces)
    decided = None
    for number, look in enumerate(looks):
        decided = one.judge(look, limit_mb=limit_mb, now_s=old_s + number * LOOK_S)
    return decided


def minute_of(look: Look) -> list[Look]:
    return [look] * (round(QUIET_S / LOOK_S) + 1)


def test_a_grown_process_is_replaced_after_a_quiet_minute_and_not_sooner() -> None:
    assert judge(*minute_of(GROWN)) is Reason.QUIET
    assert judge(*minute_of(GROWN)[:-1]) is None


def test_one_word_starts_the_minute_anew() -> None:
    assert judge(*minute_of(GROWN)[:-1], SPEECH, *minute_of(GROWN)[:-1]) is None
    assert judge(*minute_of(GROWN)[:-1], SPEECH, *minute_of(GROWN)) is Reason.QUIET


def test_a_process_below_its_limit_stays() -> None:
    assert judge(*minute_of(Look(rss_mb=LIMIT_MB, in_room=True))) is None


def test_zero_means_never() -> None:
    assert judge(*minute_of(HUGE), limit_mb=0) is None


def test_far_above_the_limit_nobody_is_asked() -> None:
    talking = Look(rss_mb=HUGE.rss_mb, in_room=True, loudest_dbfs=-20.0, attended=True)
    assert judge(talking) is Reason.URGENT
    assert judge(Look(rss_mb=HUGE.rss_mb, in_room=False)) is Reason.URGENT


def test_never_within_an_hour_of_the_start_however_large() -> None:
    assert judge(HUGE, old_s=APART_S - 1) is None
    assert judge(*minute_of(GROWN), old_s=APART_S - QUIET_S - 1) is None
    assert judge(*minute_of(GROWN), old_s=APART_S - QUIET_S) is Reason.QUIET


def test_a_recording_or_a_live_view_puts_it_off_until_it_ends() -> None:
    watched = Look(rss_mb=GROWN.rss_mb, in_room=True, attended=True)
    assert judge(*minute_of(watched)) is None
    assert judge(*minute_of(watched), GROWN) is Reason.QUIET


def test_an_outage_is_told_to_its_end_by_the_process_that_began_it() -> None:
    away = Look(rss_mb=GROWN.rss_mb, in_room=False)
    assert judge(*minute_of(away)) is None
    assert judge(*minute_of(away), *minute_of(GROWN)[:-1]) is None


def test_a_call_into_a_driver_that_does_not_return_is_left_behind_after_half_a_minute() -> None:
    assert judge(STUCK, old_s=0.0) is Reason.STUCK
    assert judge(replace(STUCK, stuck_s=STUCK_S - 1)) is None
    assert judge(STUCK, limit_mb=0) is Reason.STUCK, "it has nothing to do with memory"
    assert judge(replace(STUCK, attended=True, loudest_dbfs=-20.0)) is Reason.STUCK, "half of the station is silent"


def test_where_a_fresh_process_is_stuck_as_well_an_hour_passes_until_the_next() -> None:
    assert judge(STUCK, STUCK, old_s=STUCK_S, replaces=True) is None
    assert judge(STUCK, STUCK, old_s=APART_S - LOOK_S, replaces=True) is Reason.STUCK


def test_or_until_a_card_comes_or_goes() -> None:
    before, after = Look(rss_mb=90, in_room=True, plugged=1), replace(STUCK, plugged=2)
    assert judge(before, after, old_s=STUCK_S, replaces=True) is Reason.STUCK
    assert judge(replace(STUCK, plugged=1), after, old_s=STUCK_S, replaces=True) is Reason.STUCK
    assert judge(before, replace(before, plugged=2), after, old_s=STUCK_S, replaces=True) is None, "it was tried since"
    assert judge(replace(STUCK, plugged=1), replace(after, stuck_s=1), old_s=STUCK_S, replaces=True) is None


def test_a_process_that_cannot_end_stays() -> None:
    assert judge(replace(STUCK, held=True)) is None
    assert judge(replace(HUGE, held=True)) is None
    assert judge(replace(HUGE, held=True), HUGE) is Reason.URGENT
    assert judge(*[replace(GROWN, held=True)] * len(minute_of(GROWN)), GROWN) is Reason.QUIET


def test_whatever_happens_no_conversation_is_cut_below_the_urgent_limit() -> None:
    """Seeded schedules: wherever a QUIET is decided, the minute before it was quiet, in the room and unwatched."""
    for seed in range(200):
        rng = random.Random(seed)
        one, looks = RestartJudge(started_s=0.0), list[Look]()
        for number in range(300):
            looks.append(
                Look(
                    rss_mb=rng.choice((GROWN.rss_mb, GROWN.rss_mb, LIMIT_MB * BEYOND)),
                    in_room=rng.random() > 0.005,
                    loudest_dbfs=QUIET_DBFS + (1 if rng.random() < 0.02 else -1),
                    attended=rng.random() < 0.1,
                )
            )
            reason = one.judge(looks[-1], limit_mb=LIMIT_MB, now_s=APART_S + number * LOOK_S)
            assert reason is not Reason.URGENT, seed
            if reason is Reason.QUIET:
                minute = looks[-len(minute_of(GROWN)) :]
                assert all(look.in_room and look.loudest_dbfs <= QUIET_DBFS for look in minute), (seed, number)
                assert len(minute) == len(minute_of(GROWN)), (seed, number)
                assert not looks[-1].attended, (seed, number)


@pytest.mark.parametrize(
    ("figures", "loudest"),
    [
        ({}, SILENCE_DBFS),
        ({"network": {"participants": 1}, "input": {"level_dbfs": -30.0}, "mixer": {"per_stream": {}}}, -30.0),
        ({"network": {"participants": 0}, "input": {"level_dbfs": -30.0}, "mixer": {"per_stream": {}}}, SILENCE_DBFS),
        ({"network": {"participants": 1}, "input": {"level_dbfs": None}}, SILENCE_DBFS),
        (
            {
                "network": {"participants": 2},
                "input": {"level_dbfs": -60.0},
                "mixer": {"per_stream": {"bob": {"level_dbfs": -22.5}, "eve": {"level_dbfs": -50.0}}},
            },
            -22.5,
        ),
    ],
)
def test_the_loudest_is_whoever_can_be_heard(figures: dict[str, dict[str, object]], loudest: float) -> None:
    assert loudest_dbfs(figures) == loudest
