"""Clocks that differ: measured through whatever hides them, and kept together without anybody hearing it."""

from __future__ import annotations

import random

import pytest

from appliance.audio.drift import CORRECTION_MAX, Envelope, RateControl
from appliance.ports import Samples
from tests.audio.clocks import Call, Conditions, ramp

RATE_HZ = 48000
FRAME = 480


# ---- the envelope


def test_the_earliest_tells_where_a_clock_stands() -> None:
    envelope, rng = Envelope(RATE_HZ), random.Random(1)
    for frame in range(300):
        envelope.note(5.0 + frame * 0.01 + rng.expovariate(1 / 0.002), frame * FRAME)
    assert envelope.start_s == pytest.approx(5.0, abs=0.0002)


def test_a_clock_that_lost_time_is_believed_after_two_windows() -> None:
    envelope = Envelope(RATE_HZ)
    for frame in range(100):
        envelope.note(frame * 0.01, frame * FRAME)
    starts = []
    for frame in range(100, 400):
        envelope.note(0.070 + frame * 0.01, frame * FRAME)
        starts.append(envelope.start_s)
    assert starts[90] == pytest.approx(0.0), "it may be late only"
    assert starts[210] == pytest.approx(0.070)


def test_the_latest_of_a_window_is_told_when_it_is_over() -> None:
    envelope = Envelope(RATE_HZ)
    for frame in range(250):
        envelope.note(frame * 0.01 + (0.035 if frame == 150 else 0.0), frame * FRAME)
        if frame == 199:
            assert envelope.latest_s == pytest.approx(0.0)
    assert envelope.latest_s == pytest.approx(0.035)
    assert envelope.windows == 2


def test_positions_that_are_counted_anew_change_nothing_else() -> None:
    moved, still = Envelope(RATE_HZ), Envelope(RATE_HZ)
    for frame in range(50):
        moved.note(frame * 0.01, frame * FRAME)
        still.note(frame * 0.01, frame * FRAME + 240)
    moved.move(240)
    assert moved.start_s == pytest.approx(still.start_s)


def test_after_forgetting_the_next_note_is_the_first() -> None:
    envelope = Envelope(RATE_HZ)
    envelope.note(1.0, 0)
    envelope.forget()
    envelope.note(9.0, 0)
    assert (envelope.start_s, envelope.late_s) == (9.0, 0.0)


# ---- the control


def played(control: RateControl, seconds: float, device_hz: float, begin_s: float = 0.0) -> None:
    """The device takes blocks at its own rate; no voice is there to be kept in step."""
    for block in range(round(seconds * 100)):
        if control.played(round(FRAME * control.speed), begin_s + block * FRAME / device_hz):
            control.control(None)


@pytest.mark.parametrize("device_hz", [47700, 48300])
def test_a_device_of_another_rate_is_found_out_in_six_seconds_without_any_voice(device_hz: float) -> None:
    control = RateControl(RATE_HZ)
    played(control, 6.5, device_hz)
    assert control.speed == pytest.approx(RATE_HZ / device_hz, abs=200e-6)


@pytest.mark.parametrize("device_hz", [47986, 48000, 48014])
def test_a_crystal_is_left_to_the_slow_control(device_hz: float) -> None:
    control = RateControl(RATE_HZ)
    played(control, 20, device_hz)
    assert control.speed == 1.0


def test_a_device_that_stalls_is_no_device_of_another_rate() -> None:
    control = RateControl(RATE_HZ)
    begin_s = 0.0
    for _ in range(10):
        played(control, 2.0, 48000, begin_s)
        begin_s += 2.06
    assert control.speed == 1.0


def test_a_board_that_is_busy_all_the_time_is_no_device_of_another_rate() -> None:
    """Seen of PulseAudio at a load of 20: callbacks stop again and again, and that time is lost."""
    control, rng, now_s = RateControl(RATE_HZ), random.Random(3), 0.0
    for _ in range(12000):
        now_s += 0.01 + (rng.uniform(0.0, 0.025) if rng.random() < 0.01 else 0.0)
        if control.played(round(FRAME * control.speed), now_s):
            control.control(None)
        assert control.speed == 1.0


def test_whatever_is_measured_the_pitch_stays_within_reason() -> None:
    control, rng = RateControl(RATE_HZ), random.Random(1)
    for _ in range(5000):
        control.played(4800, rng.uniform(0, 1e6))
        control.control(rng.choice([None, rng.uniform(-1, 1), 1e9, -1e9]))
        assert abs(control.speed - 1) <= CORRECTION_MAX + 0.0005


def test_what_was_learned_of_a_device_outlives_its_reopening() -> None:
    control = RateControl(RATE_HZ)
    played(control, 6.5, 47700)
    control.restart()
    played(control, 1.0, 47700)
    assert control.speed == pytest.approx(48000 / 47700, abs=200e-6)


# ---- calls (their long form: tests/bench/drift.py)


@pytest.mark.slow
@pytest.mark.parametrize(
    "conditions",
    [
        pytest.param(Conditions(device_ppm=lambda _: 300.0), id="a fast crystal"),
        pytest.param(Conditions(device_ppm=lambda _: -300.0), id="a slow crystal"),
        pytest.param(ramp(100, 60, 240), id="a crystal that warms up and cools down"),
        pytest.param(Conditions(device_ppm=lambda _: -6250.0), id="47.7 kHz instead of 48"),
        pytest.param(Conditions(device_ppm=lambda _: 200.0, bunch=2), id="callbacks in pairs"),
        pytest.param(Conditions(device_hz=44100, device_ppm=lambda _: 200.0), id="a device at 44.1 kHz"),
        pytest.param(Conditions(block_ms=50, device_ppm=lambda _: -100.0), id="blocks of 50 ms"),
        pytest.param(Conditions(block_ms=5, device_ppm=lambda _: 300.0), id="blocks of 5 ms"),
    ],
)
def test_two_clocks_stay_together_and_nobody_hears_how(conditions: Conditions) -> None:
    heard = Call(conditions).run(120, settle_s=90, every_s=3)
    assert (heard.underruns, heard.dropped, heard.errors) == (0, 0, 0)
    assert heard.off_target_ms < 5
    assert heard.pitch_cents < 1
    assert heard.distortion_db < -60
    assert heard.judged == 10


@pytest.mark.slow
def test_frames_that_are_late_again_and_again_are_waited_for_and_nothing_is_missed() -> None:
    heard = Call(Conditions(device_ppm=lambda _: 50.0, late_a_minute=6)).run(180, settle_s=120)
    assert (heard.underruns, heard.dropped, heard.errors) == (0, 0, 0)
    assert heard.target_ms[1] > 45
    assert heard.pitch_cents < 1


@pytest.mark.slow
def test_a_late_frame_now_and_then_is_bridged_and_makes_nobody_wait() -> None:
    heard = Call(Conditions(late_at_s=(30.0, 95.0), late_s=(0.04, 0.05))).run(120, settle_s=25)
    assert heard.stretched_ms > 20
    assert (heard.underruns, heard.dropped, heard.errors) == (0, 0, 0)
    assert heard.target_ms == (15.0, 15.0)
    assert sorted(heard.wait_ms[25:])[-10] < 23, "and what was played twice is cut out again within seconds"


@pytest.mark.slow
@pytest.mark.parametrize("pauses", [False, True])
@pytest.mark.parametrize("stall_s", [0.02, 0.06, 0.12, 0.4])
def test_what_a_speaker_that_stalled_left_behind_is_gone_within_ten_seconds(stall_s: float, pauses: bool) -> None:
    heard = Call(Conditions(stall_at_s=20.5, stall_s=stall_s, pauses=pauses)).run(40, settle_s=1000)
    assert max(heard.wait_ms[21:]) <= 175, "and never more than what may wait at all"
    assert max(heard.wait_ms[31:]) < 20.5
    assert min(heard.wait_ms[21:]) > 9


@pytest.mark.slow
def test_voices_that_began_at_different_times_are_all_kept_near_their_target() -> None:
    """One rate for all: it holds their mean, and what is left between them is less than a jump."""
    call = Call(Conditions(device_ppm=lambda _: 200.0))
    add, offsets = call.mixer.add_audio_data, {"bob": 0, "charlie": 1, "dora": 2}
    waits: dict[str, float] = {}

    def all_talk(frame: Samples, _stream_id: str) -> None:
        for name, late in offsets.items():
            if call.clock.now_s > 1000 + late:
                call.clock.now_s += 0.003  # they come one after the other, which is another phase for each
                add(frame, name)

    call.mixer.add_audio_data = all_talk  # type: ignore[method-assign,assignment]
    call.run(90)
    for voice in call.mixer._voices:
        assert voice.buffer.excess_s is not None
        waits[voice.stream_id] = 1000 * voice.buffer.excess_s
        assert voice.buffer.underruns == 0
    assert waits.keys() == offsets.keys()
    assert max(map(abs, waits.values())) < 6, waits
    assert abs(sum(waits.values())) / 3 < 0.5, waits
