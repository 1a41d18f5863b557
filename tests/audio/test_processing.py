"""The microphone's way through processing, in simulated rooms and virtual time, on the SDK's real processor."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from appliance.audio.processing import Treatment
from appliance.audio.reference import LEAD_S
from appliance.audio.ring import FrameRing
from appliance.ports import Processing, Samples
from tests.audio.rooms import (
    CANCELS,
    DUCKING,
    F64,
    HALF,
    RATE_HZ,
    Intercom,
    convolve,
    kept_db,
    power_db,
    room,
    small_speaker,
    speech,
)

LEARNED = 5 * RATE_HZ
ERLE_DB = 30.0
DRIFTING_ERLE_DB = 38.0  # 43 with the reference in step
DOUBLE_TALK_DB = -3.0


def echo_of(far: F64, station: Intercom, *, reverberation_s: float = 0.15, drive: float = 0.0) -> F64:
    """What the microphone hears of the speaker beside it: 9 dB softer than what is played."""
    response = room(reverberation_s, 0.15)
    return convolve(station.in_the_air(small_speaker(far, drive)), response * (0.35 / np.abs(response).max()))


def hiss(size: int, rms: float = 5.0) -> F64:
    return np.random.default_rng(3).standard_normal(size) * rms


@pytest.mark.parametrize(
    ("reverberation_s", "ppm", "hidden_s", "drive", "erle_db"),
    [
        pytest.param(0.05, 0.0, 0.0, 0.0, ERLE_DB, id="a small room"),
        pytest.param(0.25, 0.0, 0.0, 0.0, ERLE_DB, id="a hall"),
        pytest.param(0.15, 200.0, 0.0, 0.0, DRIFTING_ERLE_DB, id="clocks that differ"),
        pytest.param(0.15, -200.0, 0.1, 0.0, ERLE_DB, id="100 ms that no time stamp tells"),
        pytest.param(0.15, 0.0, 0.0, 0.3, ERLE_DB, id="a small speaker at its limit"),
    ],
)
def test_five_seconds_of_echo_are_enough_to_lose_30_db_of_the_rest(
    reverberation_s: float, ppm: float, hidden_s: float, drive: float, erle_db: float
) -> None:
    station = Intercom(speaker_ppm=ppm, hidden_s=hidden_s)
    far = speech(9, 1)
    echo = echo_of(far, station, reverberation_s=reverberation_s, drive=drive)
    sent = station.hear(far, echo + hiss(far.size))
    assert power_db(echo[LEARNED:]) - power_db(sent[LEARNED:]) >= erle_db
    told_db = station.frames.get_metrics()["erle_db"]
    assert isinstance(told_db, float)
    assert told_db > 15  # with the five seconds in which it learned


def test_who_speaks_while_the_other_speaks_is_heard() -> None:
    station = Intercom(speaker_ppm=100.0)
    far, near = speech(9, 1), speech(9, 2, pitch_hz=200.0) * 0.7
    near[:LEARNED] = 0
    sent = station.hear(far, echo_of(far, station) + hiss(far.size) + near)
    assert kept_db(sent[LEARNED:], near[LEARNED:]) >= DOUBLE_TALK_DB


def two_stations(treatment: Treatment, *, seconds: float = 5.0, own: float = 1.1, other: float = 0.3) -> list[float]:
    """One room, two intercoms that hear themselves (`own`) and each other; level of the air second by second, dB."""
    stations = [Intercom(treatment), Intercom(treatment)]
    total, frame = round(seconds * RATE_HZ), RATE_HZ // 100
    net = 6 * frame  # from a microphone to the other's speaker: 60 ms
    gap = round(stations[0].output_s * RATE_HZ)
    voice = speech(seconds, 4) * 0.3
    voice[RATE_HZ:] = 0  # one second of speech, then nobody says anything
    played = [np.zeros(total + net + gap + frame) for _ in stations]
    sent = np.zeros(frame, np.int16)
    for begin in range(2 * gap, total - frame, frame):
        for me, station in enumerate(stations):
            air = [one[begin - gap - 8 : begin - gap - 8 + frame] for one in played]
            heard = voice[begin : begin + frame] + own * air[me] + other * air[1 - me]
            now_s = (begin + frame) / RATE_HZ
            station.play_until(now_s, clipped(played[me][: begin + frame]))
            station.capture(now_s, clipped(heard))
            assert station.frames.take(sent)
            played[1 - me][begin + net : begin + net + frame] = sent
    return [power_db(played[0][begin : begin + RATE_HZ]) for begin in range(0, total, RATE_HZ)]


def clipped(sound: F64) -> Samples:
    return np.clip(np.round(sound), -32768, 32767).astype(np.int16)


def test_two_stations_in_one_room_do_not_howl() -> None:
    assert two_stations(Treatment())[-1] > 70, "without processing this room howls"
    assert two_stations(CANCELS)[-1] < 40
    assert two_stations(HALF)[-1] < 40


def test_a_switch_is_taken_up_with_the_next_frame_and_no_frame_is_lost() -> None:
    station = Intercom(Treatment())
    far = speech(3, 1)
    sound = echo_of(far, station)
    untreated = station.hear(far[:RATE_HZ], sound[:RATE_HZ])
    assert np.array_equal(untreated[station.late :], clipped(sound[: RATE_HZ - station.late]))
    for treatment in (CANCELS, HALF, Treatment(Processing(noise_suppression=True, gain_control=True, high_pass=True))):
        station.frames.use(treatment)
        before = station.source.position
        for _ in range(20):
            station.source.write(np.zeros(station.frame, np.int16))
            assert station.frames.take(np.zeros(station.frame, np.int16))
        assert station.source.position - before == 20 * station.frame


def test_a_processor_that_fails_leaves_the_sound_as_it_is() -> None:
    class Broken:
        def __init__(self, processing: Processing, rate_hz: int) -> None:
            """Never asked."""

        def process(self, near: Samples, far: Samples, delay_ms: int) -> None:
            raise RuntimeError("no such handle")

    station = Intercom(Treatment())
    station.frames._new_processor = Broken
    station.frames.use(CANCELS)
    sound = clipped(speech(0.1, 1))
    sent = station.hear(np.zeros(sound.size), sound.astype(np.float64))
    assert np.array_equal(sent[station.late :], sound[: -station.late])
    assert station.frames.get_metrics()["echo_cancellation"] is False


def test_a_tap_hears_what_is_sent_and_takes_nothing() -> None:
    station, tap = Intercom(HALF), FrameRing(RATE_HZ)
    station.frames.add_tap(tap)
    far = speech(1, 1)
    sent = station.hear(far, far)
    heard = np.zeros(sent.size, np.int16)
    assert tap.take(heard)
    assert np.array_equal(heard, sent)
    station.frames.remove_tap(tap)
    station.hear(far, far)
    assert tap.fill == 0


def test_half_duplex_lets_no_echo_out_and_every_word_in_a_pause() -> None:
    station = Intercom(HALF)
    far, near = speech(4, 1), speech(4, 2)
    far[2 * RATE_HZ :] = 0
    near[: round(2.45 * RATE_HZ)] = 0  # after the sound in the buffer, the room's tail and the hold time
    sent = station.hear(far, echo_of(far, station) + near)
    assert power_db(sent[: 2 * RATE_HZ]) < 0.0
    open_again, late = round(2.45 * RATE_HZ), station.late
    heard = clipped(echo_of(far, station) + near)
    kept = heard[open_again - late : sent.size - late]
    assert np.max(np.abs(sent[open_again:].astype(int) - kept)) <= 1, "what the resampler rounds, no gain"


def test_the_speaker_is_ducked_by_a_voice_here_and_not_by_its_own_echo() -> None:
    station = Intercom(DUCKING)
    far, near = speech(6, 1), speech(6, 2, pitch_hz=200.0) * 2
    near[: 3 * RATE_HZ] = 0
    near[5 * RATE_HZ :] = 0
    station.hear(far, echo_of(far, station) + near)
    ducked = np.array(station.ducks) < 1.0
    assert ducked[:300].mean() < 0.02
    assert ducked[320:500].mean() > 0.6
    assert ducked[540:].mean() < 0.1


def test_nothing_is_read_or_measured_while_nothing_is_switched_on() -> None:
    station = dataclasses.replace(Intercom(), treatment=Treatment())
    station.hear(speech(0.2, 1), speech(0.2, 2))
    assert station.reference._ring.written == 0
    assert station.frames.get_metrics()["erle_db"] is None


def test_a_hiccup_keeps_the_lead_and_a_speaker_that_holds_too_little_shortens_it_until_it_fits() -> None:
    hiccup = Intercom(output_s=0.06)
    far = speech(2, 1)
    hiccup.hear(far, far)
    for _ in range(10):  # 100 ms without a callback of the speaker's
        hiccup.capture((hiccup.source.written + hiccup.frame) / RATE_HZ, np.zeros(hiccup.frame, np.int16))
        hiccup.frames.take(np.zeros(hiccup.frame, np.int16))
    assert 0 < hiccup.reference.misses < 10
    assert hiccup.reference.lead_s == LEAD_S

    short = Intercom(output_s=-0.008)
    far = speech(3, 1)
    short.hear(far, far)
    assert short.reference.lead_s < LEAD_S
    assert short.reference.misses < 20, "of 300 frames: those until it fits"
