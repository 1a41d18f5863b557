"""The description's formula as the oracle: clip(sum(volume_i * x_i) / n * master)."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.audio.mixer import AudioMixer
from appliance.ports import Samples
from tests.audio.clocks import HandClock
from tests.audio.sounds import FRAME, noise

SETTLED_FRAMES = 4  # collecting, fading in and making room take less

volumes = st.floats(0.1, 4.0)  # times the softest noise below: above −60 dBFS, so that everybody sounds
speakers = st.lists(st.tuples(volumes, st.integers(2000, 32767)), min_size=1, max_size=6)


def play(mixer: AudioMixer, voices: list[Samples], block: int) -> Samples:
    played = []
    for begin in range(0, len(voices[0]), block):
        for index, voice in enumerate(voices):
            mixer.add_audio_data(voice[begin : begin + block], f"s{index}")
        played.append(mixer.get_audio_data(block))
    return np.concatenate(played)


@settings(max_examples=100, deadline=None)
@given(speakers, st.floats(0.0, 4.0), st.integers(0, 2**32 - 1), st.sampled_from([240, 480, 960, 2400]))
def test_voices_that_sound_are_mixed_by_the_formula_of_the_description(
    speakers: list[tuple[float, int]], master: float, seed: int, block: int
) -> None:
    mixer = AudioMixer(volume=master, clock=HandClock())
    voices = [noise(seed + i, 9600, loudness) for i, (_, loudness) in enumerate(speakers)]
    for index, (volume, _) in enumerate(speakers):
        mixer.set_stream_volume(f"s{index}", volume)
    heard = play(mixer, voices, block)
    total = sum(voice.astype(np.float64) * volume for voice, (volume, _) in zip(voices, speakers, strict=True))
    wanted = np.clip(total / len(voices) * master, -32768, 32767)
    # The delay is what the mixer holds back: found where the first sound appears.
    delay = _delay(block)
    settled = SETTLED_FRAMES * FRAME
    difference = heard[delay + settled :] - wanted[settled : len(wanted) - delay]
    assert np.abs(difference).max() <= 1.0


def _delay(block: int) -> int:
    """Blocks until 20 ms have come, less the one that then plays."""
    return (-(-20 * 48 // block) - 1) * block


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "remove", "volume", "mix", "restart"]), st.integers(0, 3), st.integers(0, 3000)
        ),
        max_size=60,
    ),
    st.sampled_from(["average", "sum"]),
)
def test_whatever_happens_in_whatever_order_is_sound_and_never_an_error(
    steps: list[tuple[str, int, int]], mix: str
) -> None:
    mixer = AudioMixer(mix=mix, clock=HandClock())
    for step, stream, amount in steps:
        match step:
            case "add":
                mixer.add_audio_data(noise(amount, amount, 32767), f"s{stream}")
            case "remove":
                mixer.remove_stream(f"s{stream}")
            case "volume":
                mixer.set_stream_volume(f"s{stream}", amount / 750)
            case "mix":
                assert mixer.get_audio_data(amount).shape == (amount,)
            case _:
                mixer.restart()
    metrics = mixer.get_metrics()
    assert metrics["errors"] == 0
    assert mixer.get_audio_data(480).dtype == np.int16
