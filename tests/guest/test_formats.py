"""Formats on real ALSA: one rate only, one number of channels only, ALSA's plugins. Judged by pitch and level."""

from __future__ import annotations

from typing import Any

import pytest

from tests.guest.boot import Guest

pytestmark = [pytest.mark.guest, pytest.mark.slow]

INSIDE = "tests.guest.inside_formats"
TONE_HZ = 1000.0
SAID_DBFS = -12.0

SPEAKER = "{ type hw card Loopback device 0 }"
MICROPHONE = "{ type hw card Loopback device 1 }"


def shared(way: str, key: int) -> str:
    """dmix or dsnoop: it takes the one format that its slave runs in.

    Without a `plug` in front: alsa-lib (1.2.8) aborts the process in an overrun of a dsnoop behind one, by an
    assertion in snd_pcm_plugin_status (two of five runs on a busy machine).
    """
    kind, pcm = ("dmix", SPEAKER) if way == "speaker" else ("dsnoop", MICROPHONE)
    slave = f"pcm {pcm} rate 48000 channels 2 period_size 480 buffer_size 1920"
    return f"pcm.{way} {{ type {kind} ipc_key {key} slave {{ {slave} }} }}\n"


CONVERTED = f"""
pcm.speaker {{ type plug slave {{ pcm {SPEAKER} rate 44100 channels 2 }} }}
pcm.microphone {{ type plug slave {{ pcm {MICROPHONE} rate 44100 channels 2 }} }}
"""
ROUTED = f"""
pcm.speaker {{ type route slave {{ pcm {SPEAKER} channels 4 }} ttable.0.2 1 ttable.0.3 1 }}
pcm.microphone {{ type route slave {{ pcm {MICROPHONE} channels 4 }} ttable.0.2 0.5 ttable.0.3 0.5 }}
"""
STEREO = """
pcm.speaker { type hw card Loopback device 0 channels 2 }
pcm.microphone { type hw card Loopback device 1 channels 2 }
"""

PLAIN = """
pcm.speaker { type plug slave.pcm { type hw card Loopback device 0 } }
pcm.microphone { type plug slave.pcm { type hw card Loopback device 1 } }
"""

STEREO_SPEAKER, STEREO_MICROPHONE = STEREO.strip().splitlines()

FORMATS = {
    "a card as it is": (PLAIN, 48000, 1),
    "stereo only": (STEREO, 48000, 2),
    "44.1 kHz behind plug": (CONVERTED, 48000, 1),
    "dmix": (shared("speaker", 7001) + STEREO_MICROPHONE, 48000, 2),
    "dsnoop": (STEREO_SPEAKER + "\n" + shared("microphone", 7002), 48000, 2),
    "route": (ROUTED, 48000, 1),
}
"""Name: (asound.conf, rate and channels that alto must open it with)."""


@pytest.mark.parametrize("name", FORMATS)
def test_a_voice_keeps_its_pitch_and_level(guest: Guest, name: str) -> None:
    asound, rate_hz, channels = FORMATS[name]
    heard = guest.call(f"{INSIDE}:call_through", asound=asound, speaker="speaker", microphone="microphone", hz=TONE_HZ)
    assert heard["out"] == ["speaker", rate_hz, channels]
    assert heard["inp"] == ["microphone", rate_hz, channels]
    assert heard["hz"] == pytest.approx(TONE_HZ, abs=2)
    assert heard["dbfs"] == pytest.approx(SAID_DBFS, abs=0.5)
    assert heard["errors"] == [0, 0]


@pytest.mark.parametrize(("rate_hz", "channels"), [(44100, 2), (16000, 1), (8000, 1), (96000, 2)])
def test_bare_hardware_that_is_bound_to_one_format_is_resampled_by_us(
    guest: Guest, rate_hz: int, channels: int
) -> None:
    heard = guest.call(f"{INSIDE}:strict_by_the_cable", rate_hz=rate_hz, channels=channels, hz=TONE_HZ)
    assert (heard["rate_hz"], heard["channels"]) == (rate_hz, channels)
    assert heard["hz"] == pytest.approx(TONE_HZ, abs=2)
    assert heard["dbfs"] == pytest.approx(SAID_DBFS, abs=0.5)


@pytest.mark.parametrize(
    ("format_", "plugin"),
    [("S32_LE", "hw"), ("S24_3LE", "hw"), ("FLOAT_LE", "hw"), ("S24_LE", "plughw"), ("S24_3LE", "plughw")],
)
def test_hardware_that_has_no_16_bits_is_heard_at_its_level(guest: Guest, format_: str, plugin: str) -> None:
    """24 bits in four bytes are converted by ALSA's plug alone: PortAudio does not know them."""
    heard = guest.call(
        f"{INSIDE}:strict_by_the_cable", rate_hz=48000, channels=2, hz=TONE_HZ, format_=format_, plugin=plugin
    )
    assert heard["rate_hz"] == 48000
    assert heard["hz"] == pytest.approx(TONE_HZ, abs=2)
    assert heard["dbfs"] == pytest.approx(SAID_DBFS, abs=0.5)


def by_name(listed: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {info["pcm"]: info for info in listed}


def test_the_default_is_listed_first_where_alsa_gives_it_no_hint(guest: Guest) -> None:
    listed = guest.call(f"{INSIDE}:names", asound="")
    assert listed[0]["pcm"] == "default"
    assert listed[0]["default"]
    assert listed[0]["input_channels"] > 0
    assert listed[0]["output_channels"] > 0


def test_a_default_that_leads_nowhere_is_not_listed(guest: Guest) -> None:
    listed = guest.call(f"{INSIDE}:names", asound="defaults.pcm.card 7")
    assert "default" not in by_name(listed)


def test_an_edited_asound_conf_is_seen_and_a_pcm_without_a_hint_opens_by_its_name(guest: Guest) -> None:
    told = guest.call(f"{INSIDE}:edited", before=CONVERTED, after=f"{CONVERTED}\npcm.attic {MICROPHONE}", name="attic")
    assert "attic" not in by_name(told["before"])
    assert told["missing"]["kind"] == "DeviceMissing"
    assert "attic" in by_name(told["after"])
    assert told["opened"]["pcm"] == "attic"
    assert told["played"] > 50, "the stream that ran meanwhile, through a plugin of ALSA's"


def test_a_broken_asound_conf_changes_nothing_for_who_runs(guest: Guest) -> None:
    told = guest.call(f"{INSIDE}:edited", before=f"pcm.attic {MICROPHONE}", after="pcm.attic {", name="attic")
    assert told["opened"]["pcm"] == "attic"
