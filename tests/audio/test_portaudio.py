"""What only PortAudio's own threads can show; the rest is in tests/contracts/test_audio_backend.py."""

from __future__ import annotations

import contextlib
import os
import threading

import pytest

from appliance.app import Sessions
from appliance.audio.portaudio import CLOSE_S, PortAudioBackend
from appliance.clock import SystemClock
from appliance.errors import DeviceMissing
from appliance.ports import Block, StreamSpec
from appliance.realtime import PRIORITY
from tests.harness.oddsound import defined
from tests.harness.sound import VirtualSound
from tests.harness.wait import until

SOON_S = 10.0


class Stalled:
    """A callback in real time that stays where it is, as a driver's thread does whose card was pulled."""

    def __init__(self) -> None:
        self.thread_id = 0
        self.inside = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, _block: Block, _overflowed: bool) -> None:
        if not self.thread_id:
            self.thread_id = threading.get_native_id()
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
            self.inside.set()
            self.go_on.wait(SOON_S)

    @property
    def policy(self) -> int:
        return os.sched_getscheduler(self.thread_id)


@pytest.mark.device
def test_a_close_that_its_driver_does_not_answer_is_left_behind_and_told(sound: VirtualSound) -> None:
    inside, answers = threading.Event(), threading.Event()

    def stays(_block: Block, _overflowed: bool) -> None:
        inside.set()
        answers.wait(SOON_S)

    backend = PortAudioBackend()
    stream = backend.open_capture(StreamSpec(sound.station("kitchen").mic_pcm, 48_000, 1, 480, 0.02), stays)
    try:
        assert inside.wait(SOON_S)
        assert backend.stuck_s == 0
        stream.close()
        assert backend.stuck_s >= CLOSE_S
        assert Sessions(clock=SystemClock()).device_stuck_s >= CLOSE_S
    finally:
        answers.set()  # else the process could not end
    until(lambda: backend.stuck_s == 0, SOON_S, "the driver to let go")


@pytest.mark.device
def test_a_sound_server_that_does_not_run_is_told_from_a_card_that_is_away(sound: VirtualSound) -> None:
    """PulseAudio's; PipeWire's plugin, which cannot be installed beside it, says "host is down" instead."""
    nowhere = sound.directory / "nowhere"
    with (
        defined(sound, f'pcm.away {{ type pulse server "unix:{nowhere}" }}'),
        pytest.raises(DeviceMissing, match="'away' is a sound server's, and none runs for this user") as caught,
    ):
        PortAudioBackend().open_playback(StreamSpec("away", 48_000, 1, 480, 0.02), lambda _block, _underflowed: None)
    assert "plughw:CARD=…" in caught.value.fix


@pytest.mark.device
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root (real time)")
def test_a_thread_that_stalls_is_in_real_time_again_with_its_next_block(sound: VirtualSound) -> None:
    stalled = Stalled()
    spec = StreamSpec(sound.station("kitchen").mic_pcm, 48_000, 1, 480, 0.02)
    with contextlib.closing(PortAudioBackend().open_capture(spec, stalled)) as stream:
        assert stalled.inside.wait(SOON_S)
        assert stalled.policy == os.SCHED_RR
        stream.stand_back()
        assert stalled.policy == os.SCHED_OTHER
        stalled.go_on.set()
        until(lambda: stalled.policy == os.SCHED_RR, SOON_S, "real time")
