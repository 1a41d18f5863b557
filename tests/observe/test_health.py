"""What two looks at a station say, for every pair of looks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.observe.health import LegLook, Snapshot, judge, snapshot
from appliance.ports import Leg

RUNNING = Snapshot(
    at=100.0,
    input=LegLook(True, 1000),
    output=LegLook(True, 1000),
    connected=True,
    participants=1,
    streams=1,
    frames_sent=1000,
    frames_received=1000,
)


def later(seconds: float, **changed: Any) -> Snapshot:
    """A healthy station this much later, apart from what is named."""
    moved = int(seconds * 100) + 1
    healthy = replace(
        RUNNING,
        at=RUNNING.at + seconds,
        input=LegLook(True, 1000 + moved),
        output=LegLook(True, 1000 + moved),
        frames_sent=1000 + moved,
        frames_received=1000 + moved,
    )
    return replace(healthy, **changed)


def reasons(before: Snapshot, after: Snapshot) -> list[str]:
    return [finding.reason for finding in judge(before, after)]


def test_a_microphone_that_stopped_calling_is_found_after_a_second_and_not_before() -> None:
    stopped = LegLook(True, 1000)
    assert reasons(RUNNING, later(0.9, input=stopped)) == []
    assert reasons(RUNNING, later(1.1, input=stopped)) == ["input_stalled"]
    found = judge(RUNNING, later(1.1, input=stopped))[0]
    assert found.leg is Leg.INPUT
    assert found.message == "the microphone has not called for 1.1 s"
    assert found.fix


def test_a_speaker_that_stopped_is_found_by_the_time_of_its_last_call_within_one_short_look() -> None:
    assert reasons(RUNNING, later(0.2, output=LegLook(True, 1000, last_block_at=99.0))) == ["output_stalled"]
    assert reasons(RUNNING, later(5.0, output=LegLook(True, 1000, last_block_at=104.5))) == []


def test_a_connection_that_delivers_nothing_is_found_and_an_empty_room_is_not() -> None:
    assert reasons(RUNNING, later(3.1, frames_received=1000)) == ["receive_stalled"]
    assert reasons(RUNNING, later(3.1, frames_received=1000, streams=0)) == []
    assert reasons(RUNNING, later(2.1, frames_sent=1000)) == ["send_stalled"]
    assert reasons(RUNNING, later(60, frames_sent=1000, frames_received=1000, connected=False)) == []


def test_a_loop_that_stood_still_is_found() -> None:
    assert reasons(RUNNING, later(1.0, loop_lag_s=1.5)) == ["loop_stuck"]


looks = st.builds(
    LegLook, st.booleans(), st.integers(0, 10_000), st.none() | st.floats(0, 1e6, allow_nan=False, width=32)
)
snapshots = st.builds(
    Snapshot,
    at=st.floats(0, 1e6, allow_nan=False),
    input=looks,
    output=looks,
    connected=st.booleans(),
    participants=st.integers(0, 9),
    streams=st.integers(0, 9),
    frames_sent=st.integers(0, 10_000),
    frames_received=st.integers(0, 10_000),
    loop_lag_s=st.floats(0, 10),
)


@settings(max_examples=200, deadline=None)
@given(snapshots, snapshots)
def test_a_finding_is_only_about_what_was_open_and_is_there_once(before: Snapshot, after: Snapshot) -> None:
    found = judge(before, after)
    assert len({finding.reason for finding in found}) == len(found)
    for finding in found:
        assert finding.message
        assert finding.fix
        if finding.leg is not None:
            assert getattr(before, finding.leg).open
            assert getattr(after, finding.leg).open
        if finding.reason in ("send_stalled", "receive_stalled"):
            assert before.connected
            assert after.connected


@settings(max_examples=100, deadline=None)
@given(st.floats(0.0, 3600.0))
def test_a_station_whose_counters_move_is_healthy_however_long_one_looks(seconds: float) -> None:
    assert judge(RUNNING, later(seconds)) == []


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["network", "input", "output", "process"]),
        st.dictionaries(
            st.sampled_from(["open", "blocks", "state", "frames_sent", "silence_frames", "streams", "loop_lag_ms_max"]),
            st.none() | st.integers() | st.floats() | st.text() | st.booleans(),
        ),
    )
)
def test_figures_of_any_kind_make_a_snapshot(figures: dict[str, dict[str, object]]) -> None:
    look = snapshot(figures, at=1.0)
    assert judge(look, replace(look, at=2.0)) is not None


def test_a_snapshot_takes_its_counters_from_the_figures() -> None:
    look = snapshot(
        {
            "network": {"state": "connected", "participants": 2, "streams": 1, "frames_sent": 7, "silence_frames": 1},
            "input": {"open": True, "blocks": 5},
            "process": {"loop_lag_ms_max": 1500.0},
        },
        at=3.0,
        last_block_at={Leg.INPUT: 2.5},
    )
    assert look == Snapshot(
        at=3.0,
        input=LegLook(True, 5, 2.5),
        connected=True,
        participants=2,
        streams=1,
        frames_sent=8,
        loop_lag_s=1.5,
    )
