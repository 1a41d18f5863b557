"""The virtual sound card carries sound where it says, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

import numpy as np
import pytest

from tests.harness.processes import is_running
from tests.harness.signals import RATE_HZ, VOICES_HZ, chirp, defects, delays, level_dbfs, rms_dbfs, tone
from tests.harness.sound import NAMES, VirtualSound

pytestmark = [pytest.mark.device, pytest.mark.slow]

LOOPBACK: Final = """
import sys
import numpy as np
import sounddevice as sd
mic, speaker = sys.argv[1:]
pending = [np.zeros((480, 1), np.int16)]
def captured(block, frames, time, status): pending.append(block.copy())
def played(out, frames, time, status): out[:] = pending.pop(0) if pending else 0
common = dict(samplerate=48000, blocksize=480, channels=1, dtype="int16", latency=0.04)
record = sd.InputStream(device=mic, callback=captured, **common)
play = sd.OutputStream(device=speaker, callback=played, **common)
with record, play:
    print("open", flush=True)
    sys.stdin.read()
"""


def test_portaudio_lists_each_microphone_and_speaker_in_its_direction_only(sound: VirtualSound) -> None:
    listing = in_another_process("import sounddevice as sd; print(sd.query_devices())")
    for name in NAMES:
        assert f"{sound.station(name).mic_pcm}, ALSA (32 in, 0 out)" in listing
        assert f"{sound.station(name).speaker_pcm}, ALSA (0 in, 32 out)" in listing


def test_each_stations_microphone_has_its_own_channel(sound: VirtualSound) -> None:
    with sound.play("kitchen", tone(VOICES_HZ[0]), loop=True), sound.play("porch", tone(VOICES_HZ[1]), loop=True):
        tape = sound.record(1.5)
    last = tape.frames - RATE_HZ // 2
    assert level_dbfs(tape.mouth("kitchen", last), VOICES_HZ[0]) == pytest.approx(-12, abs=0.1)
    assert level_dbfs(tape.mouth("porch", last), VOICES_HZ[1]) == pytest.approx(-12, abs=0.1)
    for silent in (tape.mouth("garden"), tape.mouth("cellar"), *(tape.ear(name) for name in NAMES)):
        assert rms_dbfs(silent) == -120


def test_a_sound_that_is_played_once_ends_by_itself_and_arrives_whole(sound: VirtualSound) -> None:
    with sound.tape() as tape:
        sound.play("garden", tone(1033, 0.5)).wait()
        tape.wait(0.3)
    mouth = tape.mouth("garden")
    assert np.count_nonzero(mouth) == pytest.approx(np.count_nonzero(tone(1033, 0.5)), abs=8)
    assert defects(mouth, 1033) == []


def test_nobody_waits_for_a_recorder_that_has_ended(sound: VirtualSound) -> None:
    with sound.tape() as tape:
        tape.wait(0.2)
        tape.stop()
        with pytest.raises(AssertionError, match="the recorder ended"):
            tape.wait(600)


def test_a_delay_through_a_real_device_is_measured_and_steady(sound: VirtualSound) -> None:
    garden = sound.station("garden")
    period = np.concatenate((chirp(), np.zeros(RATE_HZ // 2 - chirp().size, np.int16)))
    loopback = subprocess.Popen(
        [sys.executable, "-c", LOOPBACK, garden.mic_pcm, garden.speaker_pcm],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert loopback.stdout is not None
    with loopback:
        assert loopback.stdout.readline() == b"open\n"
        with sound.play("garden", period, loop=True):
            tape = sound.record(4.0)
        loopback.communicate()
    found = delays(tape.mouth("garden", RATE_HZ), tape.ear("garden", RATE_HZ), chirp())
    assert found.lost == 0
    assert 10 < found.percentile(50) < 250, "no device passes sound on in no time"
    assert max(found.ms) - min(found.ms) < 25


def test_two_cables_do_not_meet_and_leave_nothing_behind(sound: VirtualSound) -> None:
    with VirtualSound(("kitchen",)) as other:
        assert other._daemon is not None
        pid, directory = other._daemon.pid, other.directory
        with sound.play("kitchen", tone(433), loop=True):
            tape = other.record(0.3)
        assert rms_dbfs(tape.mouth("kitchen")) == -120
        left_open = other.play("kitchen", tone(433), loop=True)
        player = left_open._process.pid
    assert not is_running(pid)
    assert not is_running(player)
    assert not directory.exists()


def test_what_a_tape_forgets_is_gone_and_the_rest_keeps_its_place(sound: VirtualSound) -> None:
    with sound.tape() as tape:
        tape.wait(0.5)
        tape.forget(4800)
        tape.wait(0.1)
    assert tape.samples().shape == (tape.frames - 4800, 2 * len(NAMES))
    assert tape.samples(since_frame=14_800).shape[0] == tape.frames - 14_800


def in_another_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    return done.stdout
