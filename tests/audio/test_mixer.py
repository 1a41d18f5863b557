"""AudioMixer: who is heard, how loud, and what happens when sound is late, gone, or too much."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping

import numpy as np
import pytest

from appliance.audio.mixer import AudioMixer
from appliance.audio.pcm import rms_dbfs
from appliance.audio.ring import FrameRing
from appliance.ports import Samples
from tests.audio.clocks import HandClock
from tests.audio.memory import memory
from tests.audio.sounds import FRAME, amplitude_at, decibels, noise, roughness, tone


class Room:
    """A mixer with people who speak in step with it: its clock stands still, so nobody is ever late."""

    def __init__(self, mixer: AudioMixer, block: int = FRAME) -> None:
        self.mixer = mixer
        self.block = block
        self.heard = np.zeros(0, np.int16)

    def talk(self, voices: Mapping[str, Samples]) -> Samples:
        """Everybody says his piece while the mixer plays; returns what was played meanwhile."""
        length = max(len(voice) for voice in voices.values())
        played = []
        for begin in range(0, length, self.block):
            for stream_id, voice in voices.items():
                if begin < len(voice):
                    self.mixer.add_audio_data(voice[begin : begin + self.block], stream_id)
            played.append(self.mixer.get_audio_data(self.block))
        self.heard = np.concatenate([self.heard, *played])
        return np.concatenate(played)

    def silence(self, seconds: float) -> Samples:
        """The mixer plays on and nobody sends anything."""
        played = [self.mixer.get_audio_data(self.block) for _ in range(round(seconds * 48000 / self.block))]
        self.heard = np.concatenate([self.heard, *played])
        return np.concatenate(played)


def streams_of(mixer: AudioMixer) -> Mapping[str, Mapping[str, object]]:
    per_stream = mixer.get_metrics()["per_stream"]
    assert isinstance(per_stream, dict)
    return per_stream


# ---- who is heard, and how loud


@pytest.mark.parametrize("size", [960, 2400, 4800])
def test_the_description_s_own_example_comes_out_to_the_last_sample(size: int) -> None:
    """Put a block of each in, take a block out: (bob * 1.5 + charlie * 0.5) / 2."""
    mixer = AudioMixer(clock=HandClock())
    mixer.set_stream_volume("bob", 1.5)
    mixer.set_stream_volume("charlie", 0.5)
    mixer.add_audio_data(np.full(size, 1000, np.int16), stream_id="bob")
    mixer.add_audio_data(np.full(size, 3000, np.int16), stream_id="charlie")
    assert mixer.get_audio_data(size).tolist() == [1500] * size
    assert not mixer.get_audio_data(size)[240:].any(), "and then there is nothing more"
    assert mixer.underruns == 1


def test_a_voice_whose_delay_had_to_grow_rides_over_what_made_it_stall() -> None:
    """Every five seconds the sender is 40 ms late: at first some is played twice, soon it need not be."""
    mixer = AudioMixer(clock=(clock := HandClock()))
    out = np.zeros(FRAME, np.float32)
    stretched = []
    for _ in range(8):
        for frame in range(500):
            clock.now_s += 0.01
            late = 440 < frame < 445
            for _ in range(0 if late else 5 if frame == 445 else 1):
                mixer.add_audio_data(noise(frame, FRAME), "bob")
            mixer.mix_into(out)
        stretched.append(float(str(mixer.get_metrics()["stretched_ms"])))
    assert stretched[0] >= 30
    assert stretched[-1] == stretched[3], "two times teach it"
    assert mixer.underruns == 0
    assert streams_of(mixer)["bob"]["target_ms"] == pytest.approx(50, abs=1), "40 ms, and the frame that is played"


def test_one_voice_is_played_as_it_was_said() -> None:
    room = Room(AudioMixer(clock=HandClock()))
    said = noise(1, 48000)
    heard = room.talk({"bob": said})
    start = FRAME  # 20 ms are collected: the second block begins to sound
    assert (heard[:start] == 0).all()
    faded_in = FRAME
    assert np.array_equal(heard[start + faded_in :], said[faded_in : len(said) - start])


def test_two_voices_are_averaged_as_described() -> None:
    room = Room(AudioMixer(clock=HandClock()))
    bob, charlie = noise(1, 48000), noise(2, 48000)
    heard = room.talk({"bob": bob, "charlie": charlie})
    wanted = (bob.astype(float) + charlie) / 2
    assert np.abs(heard[4 * FRAME :] - wanted[3 * FRAME : -FRAME]).max() <= 1


def test_volumes_follow_the_description() -> None:
    mixer = AudioMixer(clock=HandClock(), volume=0.8)
    mixer.set_stream_volume("bob", 1.5)
    mixer.set_stream_volume("charlie", 0.5)
    bob, charlie = noise(1, 48000), noise(2, 48000)
    heard = Room(mixer).talk({"bob": bob, "charlie": charlie})
    wanted = (bob * 1.5 + charlie * 0.5) / 2 * 0.8
    assert np.abs(heard[4 * FRAME :] - wanted[3 * FRAME : -FRAME]).max() <= 1


def test_silent_participants_make_nobody_softer() -> None:
    voices = {f"silent{i}": np.zeros(48000, np.int16) for i in range(5)} | {"bob": noise(1, 48000)}
    mixer = AudioMixer(clock=HandClock())
    heard = Room(mixer).talk(voices)
    assert np.array_equal(heard[2 * FRAME :], voices["bob"][FRAME:-FRAME])
    assert mixer.get_metrics()["sounding"] == 1
    assert mixer.get_metrics()["streams"] == 6


def test_a_muted_voice_makes_nobody_softer() -> None:
    mixer = AudioMixer(clock=HandClock())
    mixer.set_stream_volume("charlie", 0.0)
    bob = noise(1, 48000)
    heard = Room(mixer).talk({"bob": bob, "charlie": noise(2, 48000)})
    assert np.array_equal(heard[2 * FRAME :], bob[FRAME:-FRAME])


def test_a_pause_between_words_does_not_pump_the_others() -> None:
    """Charlie pauses for 0.3 s: bob keeps his loudness through it."""
    room = Room(AudioMixer(clock=HandClock()))
    pause = np.zeros(round(0.3 * 48000), np.int16)
    words = tone(900, 0.5)
    charlie = np.concatenate([words, pause, words])
    heard = room.talk({"bob": tone(300, 1.3), "charlie": charlie})
    levels = [amplitude_at(heard[i : i + 1600], 300) for i in range(4800, len(heard) - 1600, 1600)]
    assert max(levels) / min(levels) < 1.02


def test_the_room_of_one_who_stopped_is_given_back_slowly() -> None:
    room = Room(AudioMixer(clock=HandClock()))
    charlie = np.concatenate([tone(900, 0.5), np.zeros(48000, np.int16)])
    heard = room.talk({"bob": tone(300, 1.5), "charlie": charlie})
    levels = [amplitude_at(heard[i : i + 480], 300) for i in range(960, len(heard) - 480, 480)]
    steps_db = [decibels(after / before) for before, after in itertools.pairwise(levels[20:])]
    assert max(map(abs, steps_db)) < 0.4, "no 10 ms changes bob audibly"
    assert levels[-1] / levels[30] == pytest.approx(2.0, rel=0.02), "in the end he has the room for himself"


def test_a_first_syllable_neither_clips_nor_is_swallowed() -> None:
    room = Room(AudioMixer(clock=HandClock()))
    room.talk({"bob": tone(300, 0.5, amplitude=30000), "charlie": np.zeros(24000, np.int16)})
    heard = room.talk({"bob": tone(300, 0.2, amplitude=30000), "charlie": tone(300, 0.2, amplitude=30000)})
    onset = heard[FRAME : 3 * FRAME]
    assert np.abs(onset[240:].astype(int)).max() <= 30001, "room was made within 5 ms"
    assert amplitude_at(heard[2 * FRAME : 6 * FRAME], 300) == pytest.approx(30000, rel=0.02)


# ---- volumes while the call runs


def test_a_volume_changes_without_a_click() -> None:
    room = Room(AudioMixer(clock=HandClock()))
    room.talk({"bob": tone(300, 0.3)})
    room.mixer.set_stream_volume("bob", 2.0)
    room.talk({"bob": tone(300, 0.3)})
    room.mixer.master_volume = 0.25
    room.talk({"bob": tone(300, 0.3)})
    steady = room.heard[4 * FRAME :]
    assert roughness(steady) < 2 * roughness(tone(300, 0.1, amplitude=16000))
    assert amplitude_at(room.heard[-4800:], 300) == pytest.approx(4000, rel=0.01)


def test_a_volume_is_remembered_when_its_owner_leaves_and_returns() -> None:
    mixer = AudioMixer(clock=HandClock())
    room = Room(mixer)
    mixer.open_stream("TR_1", owner="bob")
    mixer.set_stream_volume("bob", 0.5)
    room.talk({"TR_1": tone(300, 0.2)})
    mixer.remove_stream("TR_1")
    room.silence(0.1)
    mixer.open_stream("TR_2", owner="bob")
    heard = room.talk({"TR_2": tone(300, 0.3)})
    assert amplitude_at(heard[-4800:], 300) == pytest.approx(4000, rel=0.01)
    assert mixer.get_stream_volume("bob") == 0.5
    assert mixer.stream_volumes == {"bob": 0.5}
    assert streams_of(mixer)["TR_2"]["volume"] == 0.5
    assert streams_of(mixer)["TR_2"]["owner"] == "bob"


def test_a_volume_concerns_all_streams_of_its_owner_and_no_other() -> None:
    mixer = AudioMixer(clock=HandClock())
    for stream_id, owner in (("TR_1", "bob"), ("TR_2", "bob"), ("TR_3", "charlie")):
        mixer.open_stream(stream_id, owner=owner)
    mixer.set_stream_volume("bob", 3.0)
    assert [stream["volume"] for stream in streams_of(mixer).values()] == [3.0, 3.0, 1.0]


def test_a_stream_may_change_its_owner() -> None:
    mixer = AudioMixer(clock=HandClock())
    mixer.set_stream_volume("bob", 0.5)
    mixer.add_audio_data(noise(1, FRAME), "TR_1")
    assert streams_of(mixer)["TR_1"]["owner"] == "TR_1"
    mixer.open_stream("TR_1", owner="bob")
    assert streams_of(mixer)["TR_1"]["volume"] == 0.5
    assert mixer.get_metrics()["streams"] == 1


@pytest.mark.parametrize("volume", [-0.01, 4.01, float("nan")])
def test_volumes_outside_their_range_are_refused(volume: float) -> None:
    mixer = AudioMixer(clock=HandClock())
    with pytest.raises(ValueError, match="volume"):
        mixer.set_stream_volume("bob", volume)
    with pytest.raises(ValueError, match="volume"):
        mixer.master_volume = volume
    with pytest.raises(ValueError, match="volume"):
        AudioMixer(clock=HandClock(), volume=volume)
    assert mixer.get_stream_volume("bob") == mixer.master_volume == 1.0


def test_other_shapes_of_mixer_are_refused() -> None:
    with pytest.raises(ValueError, match="mono"):
        AudioMixer(48000, 2)
    with pytest.raises(ValueError, match="average or sum"):
        AudioMixer(clock=HandClock(), mix="median")


# ---- late, gone, stalled


def test_nobody_in_the_room_is_silence_and_no_fault() -> None:
    mixer = AudioMixer(clock=HandClock())
    assert not mixer.get_audio_data(480).any()
    mixer.open_stream("TR_1", owner="bob")
    assert not mixer.get_audio_data(480).any()
    assert mixer.get_metrics()["underruns"] == 0


def test_a_voice_begins_when_its_playout_delay_is_there() -> None:
    mixer = AudioMixer(clock=HandClock(), playout_ms=40)
    for frames in range(4):
        assert not mixer.get_audio_data(FRAME).any(), f"{10 * frames} ms are not 40"
        mixer.add_audio_data(noise(frames, FRAME))
    assert mixer.get_audio_data(FRAME).any()
    assert mixer.get_metrics()["underruns"] == 0


def test_a_voice_waits_for_a_whole_block_where_blocks_are_long() -> None:
    mixer = AudioMixer(clock=HandClock())
    for _ in range(3):
        mixer.add_audio_data(noise(1, FRAME))
    assert not mixer.get_audio_data(2400).any(), "30 ms would run dry in a block of 50"
    for _ in range(2):
        mixer.add_audio_data(noise(1, FRAME))
    assert mixer.get_audio_data(2400)[-100:].any()
    assert mixer.underruns == 0


@pytest.mark.parametrize("missing_ms", [1, 5, 10])
def test_a_few_missing_milliseconds_are_bridged_by_playing_some_again(missing_ms: int) -> None:
    """Blocks of 50 ms, and the sender is a little behind when the second is due: no gap, no click."""
    room = Room(AudioMixer(clock=HandClock()), 2400)
    wave = tone(300, 1.0)
    short = 2400 - missing_ms * 48
    room.talk({"bob": wave[:2400]})
    room.talk({"bob": wave[2400 : 2400 + short]})
    for begin in range(2400 + short, 40000, 2400):
        room.talk({"bob": wave[begin : begin + 2400]})
    metrics = room.mixer.get_metrics()
    assert (metrics["underruns"], streams_of(room.mixer)["bob"]["underruns"]) == (0, 0)
    assert max(5, missing_ms) <= float(str(metrics["stretched_ms"])) <= max(10, missing_ms + 5)
    assert roughness(room.heard) < 3 * roughness(wave)


def test_a_block_that_is_longer_than_all_that_may_wait_gets_what_there_is() -> None:
    mixer = AudioMixer(clock=HandClock())
    mixer.add_audio_data(noise(1, 48000))
    heard = mixer.get_audio_data(48000)
    assert np.count_nonzero(heard) == pytest.approx(170 * 48, abs=480)


def test_one_stalled_voice_stops_nobody_else() -> None:
    room = Room(AudioMixer(clock=HandClock()))
    room.talk({"bob": tone(300, 0.5), "charlie": tone(900, 0.5)})
    heard = room.talk({"bob": tone(300, 2.0)})
    assert amplitude_at(heard[-4800:], 300) == pytest.approx(8000, rel=0.01)
    metrics = room.mixer.get_metrics()
    assert metrics["underruns"] == 0, "somebody sounded all the time"
    assert streams_of(room.mixer)["charlie"]["underruns"] == 1
    assert streams_of(room.mixer)["bob"]["underruns"] == 0


def test_all_stalled_is_silence_and_counted_by_the_block() -> None:
    room = Room(AudioMixer(clock=HandClock()))
    room.talk({"bob": tone(300, 0.5)})
    room.silence(0.01)  # the 10 ms that were left
    assert room.mixer.get_metrics()["underruns"] == 0
    heard = room.silence(0.1)
    assert not heard[FRAME:].any()
    assert room.mixer.get_metrics()["underruns"] == 10
    assert streams_of(room.mixer)["bob"]["underruns"] == 1, "one stall is one underrun of the stream"


def test_a_stall_and_its_end_do_not_click() -> None:
    """A block and a half, nothing, then sound again: fade out, fade in."""
    room = Room(AudioMixer(clock=HandClock()))
    speech = tone(300, 0.2)
    loud = 56  # a place in the wave where a cut is loud, and so is what stood 184 samples before it
    room.talk({"bob": speech[: -FRAME // 2 + loud]})
    room.silence(0.05)
    room.talk({"bob": tone(300, 0.2)[loud:]})
    assert roughness(room.heard[2 * FRAME :]) < 0.1 * 8000, "a kink, where a cut would jump by thousands"
    metrics = streams_of(room.mixer)["bob"]
    assert metrics["underruns"] == 1


def test_who_is_still_collecting_does_not_hide_that_all_others_stalled() -> None:
    room = Room(AudioMixer(clock=HandClock()))
    room.talk({"bob": tone(300, 0.5)})
    room.silence(0.01)
    room.mixer.open_stream("TR_2", owner="charlie")
    room.silence(0.1)
    assert room.mixer.get_metrics()["underruns"] == 10


def test_a_stalled_voice_that_leaves_is_a_fault_no_longer() -> None:
    room = Room(AudioMixer(clock=HandClock()))
    room.talk({"bob": tone(300, 0.5)})
    room.silence(0.05)
    counted = room.mixer.underruns
    room.mixer.remove_stream("bob")
    room.silence(0.1)
    assert room.mixer.underruns == counted


def test_a_removed_voice_fades_and_the_rest_goes_on() -> None:
    room = Room(AudioMixer(clock=HandClock()))
    room.talk({"bob": tone(300, 0.3), "charlie": tone(300, 0.3)})
    room.mixer.remove_stream("charlie")
    room.talk({"bob": tone(300, 1.0)})
    assert roughness(room.heard[4 * FRAME :]) < 3 * roughness(tone(300, 0.1, amplitude=8000))
    assert amplitude_at(room.heard[-4800:], 300) == pytest.approx(8000, rel=0.01)
    metrics = room.mixer.get_metrics()
    assert metrics["streams"] == 1
    assert metrics["underruns"] == 0


def test_the_last_voice_to_go_leaves_silence_and_no_fault() -> None:
    room = Room(AudioMixer(clock=HandClock()))
    room.talk({"bob": tone(300, 0.3)})
    room.mixer.remove_stream("bob")
    room.mixer.remove_stream("nobody")
    heard = room.silence(0.1)
    assert roughness(heard) < 3 * roughness(tone(300, 0.1))
    assert not heard[FRAME:].any()
    assert room.mixer.get_metrics()["underruns"] == 0
    assert room.mixer._voices == (), "nothing of it is kept"


def test_streams_that_come_and_go_without_a_speaker_do_not_pile_up() -> None:
    mixer = AudioMixer(clock=HandClock())
    for turn in range(200):
        mixer.add_audio_data(noise(turn, FRAME), f"TR_{turn}")
        mixer.remove_stream(f"TR_{turn}")
    assert len(mixer._voices) <= 17


def test_a_speaker_that_was_away_hears_no_old_sound() -> None:
    mixer = AudioMixer(clock=HandClock())
    for turn in range(500):
        mixer.add_audio_data(noise(turn, FRAME), "bob")
    mixer.restart()
    assert not mixer.get_audio_data(FRAME).any()
    heard = Room(mixer).talk({"bob": tone(300, 0.3)})
    assert amplitude_at(heard[-4800:], 300) == pytest.approx(8000, rel=0.01)
    metrics = mixer.get_metrics()
    assert (metrics["underruns"], metrics["dropped"]) == (0, 0), "nobody listened: nothing was lost"


# ---- too much


def test_a_burst_is_kept_up_to_the_ceiling_and_worked_off_unheard() -> None:
    room = Room(AudioMixer(clock=HandClock()))
    wave = tone(300, 10.0)
    room.talk({"bob": wave[:9600]})
    for begin in range(9600, 9600 + 30 * FRAME, FRAME):
        room.mixer.add_audio_data(wave[begin : begin + FRAME], "bob")
    room.talk({"bob": wave[9600 + 30 * FRAME :]})
    metrics = room.mixer.get_metrics()
    assert metrics["dropped"] > 0, "300 ms are more than may wait"
    assert metrics["trimmed_ms"] == pytest.approx(150, abs=15)
    assert streams_of(room.mixer)["bob"]["buffer_ms"] <= 25
    assert metrics["underruns"] == 0
    assert roughness(room.heard[2 * FRAME :]) < 3 * roughness(wave)


def test_a_burst_is_worked_off_in_pauses_if_there_are_any() -> None:
    """Words and pauses: all words come out whole, only pauses get shorter."""
    room = Room(AudioMixer(clock=HandClock()))
    word = np.concatenate([tone(300, 0.3), np.zeros(4800, np.int16)])
    room.talk({"bob": word})
    for _ in range(5):
        room.mixer.add_audio_data(np.zeros(FRAME, np.int16), "bob")
    room.talk({"bob": np.tile(word, 12)})
    assert room.mixer.get_metrics()["trimmed_ms"] == pytest.approx(50, abs=11)
    loud = np.abs(room.heard.astype(int)) > 3000
    assert loud.sum() == pytest.approx(13 * (np.abs(tone(300, 0.3).astype(int)) > 3000).sum(), abs=300)


@pytest.mark.parametrize("ppm", [500, -500])
def test_a_reader_that_heeds_no_speed_is_served_by_cutting_and_playing_again(ppm: int) -> None:
    """Two minutes in which frames come a little too often or too seldom, and the same is read in each 10 ms."""
    mixer = AudioMixer(clock=(clock := HandClock()))
    wave = tone(300, 1.0)
    out = np.zeros(FRAME, np.float32)
    sent = 0
    highest_ms = 0.0
    blocks = 12_000
    for block in range(blocks):
        while sent <= block * (1 + ppm / 1e6) + 2:
            mixer.add_audio_data(wave[sent % 100 * FRAME :][:FRAME], "bob")
            sent += 1
        clock.now_s += 0.01
        mixer.mix_into(out)
        if block % 100 == 50:
            highest_ms = max(highest_ms, float(str(streams_of(mixer)["bob"]["buffer_ms"])))
    metrics = mixer.get_metrics()
    assert streams_of(mixer)["bob"]["underruns"] == metrics["underruns"] == metrics["dropped"] == 0
    assert highest_ms < 50
    drift_ms = abs(ppm) * blocks / 1e5
    assert metrics["trimmed_ms" if ppm > 0 else "stretched_ms"] == pytest.approx(drift_ms, abs=25)


def test_a_sum_keeps_each_voice_as_loud_as_alone() -> None:
    room = Room(AudioMixer(clock=HandClock(), mix="sum"))
    heard = room.talk({"bob": tone(300, 0.5), "charlie": tone(900, 0.5)})
    for hz in (300, 900):
        assert amplitude_at(heard[-9600:], hz) == pytest.approx(8000, rel=0.01)


def test_a_sum_never_exceeds_its_ceiling() -> None:
    mixer = AudioMixer(clock=HandClock(), mix="sum", volume=4.0)
    room = Room(mixer)
    for stream in range(6):
        mixer.set_stream_volume(f"s{stream}", 4.0)
    for length in (0.3, 0.05, 0.3):
        room.talk({f"s{stream}": noise(stream, round(48000 * length), 32767) for stream in range(6)})
        room.silence(0.2)
    ceiling = 32768 * 10 ** (-1 / 20)
    assert np.abs(room.heard.astype(int)).max() <= ceiling + 1
    assert rms_dbfs(room.heard[9600:14400]) > -12, "and is not simply quiet"


# ---- blocks, taps, threads


@pytest.mark.parametrize("block", [16, 240, 441, 480, 960, 1024, 2400])
def test_every_block_size_gives_the_same_sound(block: int) -> None:
    room = Room(AudioMixer(clock=HandClock()), block)
    said = noise(1, 48000)
    heard = room.talk({"bob": said})
    begin = int(np.flatnonzero(heard)[0]) // block * block
    settled = 2 * FRAME
    whole = 48000 // block * block  # the last piece is no whole block and runs dry
    assert np.array_equal(heard[begin + settled : whole], said[settled : whole - begin])
    assert begin < 20 * 48, "20 ms of playout delay at most, less the block that then plays"
    metrics = room.mixer.get_metrics()
    assert metrics["underruns"] <= (whole < 48000)
    assert metrics["errors"] == 0


def test_a_tap_hears_all_and_takes_nothing() -> None:
    room = Room(AudioMixer(clock=HandClock()))
    tap = FrameRing(48000)
    room.mixer.add_tap(tap)
    heard = room.talk({"bob": noise(1, 9600)})
    recorded = np.zeros(9600, np.int16)
    assert tap.take(recorded)
    assert np.array_equal(recorded, heard)
    assert np.array_equal(heard[2 * FRAME :], noise(1, 9600)[FRAME:-FRAME])
    room.mixer.remove_tap(tap)
    room.mixer.remove_tap(FrameRing(1))
    room.talk({"bob": noise(1, 9600)})
    assert tap.fill == 0


def test_a_request_for_nothing_gets_nothing() -> None:
    assert AudioMixer(clock=HandClock()).get_audio_data(0).size == 0
    assert AudioMixer(clock=HandClock()).get_audio_data(-5).size == 0


def test_a_fault_inside_is_silence_and_a_number() -> None:
    mixer = AudioMixer(clock=HandClock())
    Room(mixer).talk({"bob": noise(1, 4800)})
    mixer.add_tap("no ring")  # type: ignore[arg-type]
    assert not mixer.get_audio_data(FRAME).any()
    assert mixer.get_metrics()["errors"] == 1


def test_metrics_tell_each_stream() -> None:
    room = Room(AudioMixer(clock=HandClock()))
    room.talk({"bob": tone(300, 0.5, amplitude=32767), "charlie": np.zeros(24000, np.int16)})
    streams = streams_of(room.mixer)
    assert streams["bob"]["level_dbfs"] == pytest.approx(-3, abs=0.3)
    assert streams["bob"]["frames"] == 24000
    assert streams["bob"]["buffer_ms"] == 10.0
    assert (streams["bob"]["target_ms"], streams["bob"]["late_ms_max"], streams["bob"]["bridged"]) == (15.0, 0.0, 0)
    assert streams["charlie"]["level_dbfs"] == -120


def test_floats_are_taken_too() -> None:
    mixer = AudioMixer(clock=HandClock())
    for _ in range(3):
        mixer.add_audio_data(np.full(FRAME, 0.5, np.float32))  # type: ignore[arg-type]
    mixer.get_audio_data(FRAME)
    assert mixer.get_audio_data(FRAME)[-1] == 16384


def test_many_threads_write_and_change_while_one_reads() -> None:
    mixer = AudioMixer(clock=HandClock())
    stop = threading.Event()
    failures: list[BaseException] = []

    def guarded(work: object) -> None:
        try:
            while not stop.is_set():
                work()  # type: ignore[operator]
        except BaseException as error:
            failures.append(error)

    def speak(stream: str) -> None:
        mixer.add_audio_data(noise(1, FRAME), stream)
        stop.wait(0.001)

    def come_and_go() -> None:
        mixer.open_stream("guest", owner="guest")
        mixer.set_stream_volume("guest", 2.0)
        mixer.remove_stream("guest")
        mixer.get_metrics()
        stop.wait(0.001)

    works = [lambda: speak("a"), lambda: speak("b"), come_and_go]
    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    out = np.zeros(FRAME, np.float32)
    for _ in range(1500):
        mixer.mix_into(out)
    stop.set()
    for thread in threads:
        thread.join(5)
    assert failures == []
    assert mixer.get_metrics()["errors"] == 0


def test_mixing_sixteen_voices_allocates_nothing_that_stays() -> None:
    mixer = AudioMixer(clock=HandClock())
    streams = {f"s{i}": noise(i, FRAME) for i in range(16)}
    out = np.zeros(FRAME, np.float32)

    def turn(times: int) -> None:
        for _ in range(times):
            for stream_id, sound in streams.items():
                mixer.add_audio_data(sound, stream_id)
            mixer.mix_into(out)

    stays, comes_and_goes = memory(turn)
    assert stays < 1000, "nothing grows"
    assert comes_and_goes < 4000, "and no block of samples (960 bytes and more) is made for each voice"
