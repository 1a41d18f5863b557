"""Two stations in one machine hold a call: what is said into one's microphone comes out of the other's loudspeaker."""

from __future__ import annotations

import time
import wave

import numpy as np
from machine import Machine
from test_install import show, until_online

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
systemd-run --unit=porch -p User=alto -p Group=alto -p SupplementaryGroups=audio -p WorkingDirectory=/tmp \
    -p RuntimeDirectory=porch -p StateDirectory=porch \
    /opt/alto/current/bin/python -I -m appliance run -c /var/lib/alto/porch.yaml
"""

HEARD_HZ = 600


def test_two_stations_hold_a_call_and_alto_writes_nothing_to_the_disk(station: Machine) -> None:
    station.switch_on()
    until_online(station)
    station.run(START_PORCH)
    station.until('journalctl -b -u porch -o cat | grep -q \'"to": *"online"\'', 120, "the second station")
    station.begin(f"speaker-test -D plughw:CARD=Loopback -c 2 -t sine -f {HEARD_HZ} -l 0 >/dev/null")
    station.until("journalctl -b -u porch -o cat | grep -q stream.started", 60, "the first to be heard by the second")
    io = f"grep ^write_bytes /proc/{show(station, 'MainPID')}/io"
    time.sleep(5)
    before = station.run(io)
    station.run("arecord -q -D plughw:CARD=Loopback_2,DEV=1 -f S16_LE -r 48000 -c 1 -d 10 /host/heard.wav", 60)
    time.sleep(20)
    assert station.run(io) == before, "the call wrote to the disk"
    with wave.open(str(station.share / "heard.wav")) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(float)[48000:]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert abs(np.argmax(spectrum) * 48000 / len(sound) - HEARD_HZ) < 2
    assert np.sqrt(np.mean(sound**2)) > 300
    station.switch_off()
