"""Two stations in one machine hold a call: what is said into one's microphone comes out of the other's loudspeaker."""

from __future__ import annotations

import os
import time
import wave
from pathlib import Path
from typing import Final

import numpy as np
from asked import show, until_online
from conftest import FIGURES
from machine import Machine

START_PORCH = """
cat > /var/lib/alto/porch.yaml <<'X'
identity: porch
livekit:
  url: ws://127.0.0.1:7880
  api_key_file: /var/lib/alto/embedded/api_key
  api_secret_file: /var/lib/alto/embedded/api_secret
audio:
  input: {enabled: false}
  output: {device: "plughw:CARD=Loopback_2"}
X
chown alto: /var/lib/alto/porch.yaml
systemd-run --unit=porch -p User=alto -p Group=alto -p SupplementaryGroups=audio \
    -p LimitRTPRIO=20 -p WorkingDirectory=/tmp \
    -p RuntimeDirectory=porch -p StateDirectory=porch \
    /opt/alto/current/bin/python -I -m appliance run -c /var/lib/alto/porch.yaml
"""

OTHERS_WRITE_NOTHING: Final = (
    "journalctl --relinquish-var; systemctl stop '*.timer'; touch /run/call; sync; sleep 6; sync"
)
"""The journal goes to memory. Six seconds are what ext4 takes to write what it has in mind."""

SECTORS_WRITTEN: Final = "sync; awk '{print $7}' /sys/block/ubda/stat"
"""Of the whole disk, since the machine was switched on: the kernel's accounting by process may be left out."""

HEARD_HZ: Final = 600
RATE_HZ: Final = 48_000
PROMPT: Final = "chrt --rr 40"  # the ends of the cables are the world outside: they must not wait for the station
SAY: Final = f"while :; do {PROMPT} aplay -q -D plughw:CARD=Loopback /host/said.wav || sleep 0.3; done"
HEAR: Final = f"{PROMPT} arecord -q -D plughw:CARD=Loopback_2,DEV=1 -f S16_LE -r {RATE_HZ} -c 1 -d 10 /host/heard.wav"
CALL_S: Final = float(os.environ.get("ALTO_SYSTEM_CALL_S", "60"))  # ten minutes are the promise, and take ten minutes
MOST_KIB: Final = 120 * 1024
MOST_EXPOSURE: Final = 1.9


def test_two_stations_hold_a_call_and_alto_writes_nothing_to_the_disk(station: Machine) -> None:
    station.switch_on()
    until_online(station)
    station.run(START_PORCH)
    station.until('journalctl -b -u porch -o cat | grep -q \'"to": *"online"\'', 120, "the second station")
    _write_tone(station.share / "said.wav")
    station.begin(SAY)
    station.until("journalctl -b -u porch -o cat | grep -q stream.started", 60, "the first to be heard by the second")
    station.run(OTHERS_WRITE_NOTHING)
    before = station.run(SECTORS_WRITTEN)
    station.run(HEAR, 60)
    with wave.open(str(station.share / "heard.wav")) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(float)[RATE_HZ:]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert abs(np.argmax(spectrum) * RATE_HZ / len(sound) - HEARD_HZ) < 2
    assert np.sqrt(np.mean(sound**2)) > 300
    end = time.monotonic() + CALL_S
    while time.monotonic() < end:
        time.sleep(1)
        assert station.is_on
    written = int(station.run(SECTORS_WRITTEN)) - int(before)
    assert written == 0, station.run("find / -xdev -type f -newer /run/call")
    _measure(station)
    station.switch_off()


def _write_tone(path: Path) -> None:
    """A minute of it, mono, int16, 12 dB below full scale."""
    tone = 8000 * np.sin(2 * np.pi * HEARD_HZ / RATE_HZ * np.arange(60 * RATE_HZ))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(tone.astype("<i2").tobytes())


def _measure(station: Machine) -> None:
    """In the call: what it takes, and how far it is locked up."""
    rss_kib = int(station.run(f"awk '/^VmRSS/ {{print $2}}' /proc/{show(station, 'MainPID')}/status"))
    exposure = float(
        station.run("systemd-analyze security --no-pager alto | sed -n 's/.*Overall exposure.*: \\([0-9.]*\\).*/\\1/p'")
    )
    whole = int(show(station, "MemoryCurrent"))  # with its own server, and with the files that both were read from
    FIGURES.append(
        f"a call of {CALL_S:g} s: RSS {rss_kib / 1024:.0f} MiB, MemoryCurrent with server {whole >> 20} MiB, "
        f"exposure {exposure}, written to the disk: 0 bytes"
    )
    assert rss_kib <= MOST_KIB
    assert exposure <= MOST_EXPOSURE
