"""What processing does and costs: `python -m tests.bench.processing`, five minutes.

Two stations in a call on a real server; the kitchen's speaker and microphone stand in a simulated room, in real time.
Somebody talks on the porch; what comes back to the porch is its echo. Each setting is switched in the running call.
A table on standard output; exit code 1 if the echo canceller missed its bar.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from appliance.network.processing import SdkProcessor
from appliance.ports import Processing
from tests.audio.rooms import F64, room, speech
from tests.harness.processes import as_hardware, preferred, spawn
from tests.harness.server import LiveKitServer
from tests.harness.signals import RATE_HZ
from tests.harness.sound import SoundStation, Tape, VirtualSound
from tests.harness.station import Station, station_settings

NEAR, FAR = "kitchen", "porch"
ROOM_LATENCY_MS: Final = 40  # the simulated air's own; PulseAudio adds as much again
PIPE_BYTES: Final = 4096  # 43 ms: what waits in a pipe is delay for good
BACKLOG_FRAMES: Final = RATE_HZ // 20
COUPLING: Final = 0.35  # of the loudest reflection: −9 dB
ERLE_DB: Final = 30.0
LEARN_S: Final = 8.0
JOIN_S: Final = 20.0
FRAMES: Final = 2000

SETTINGS: Final[Mapping[str, dict[str, Any]]] = {
    "nothing": {},
    "high_pass": {"input": {"processing": {"high_pass": True}}},
    "noise_suppression": {"input": {"processing": {"noise_suppression": True}}},
    "gain_control": {"input": {"processing": {"gain_control": True}}},
    "echo_cancellation": {"input": {"processing": {"echo_cancellation": True}}},
    "all four": {
        "input": {
            "processing": dict.fromkeys(("echo_cancellation", "noise_suppression", "gain_control", "high_pass"), True)
        }
    },
    "duplex: half": {"duplex": "half"},
    "duplex: ducking": {"duplex": "ducking"},
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One setting's line."""

    name: str
    frame_us: float
    """Processor time of the SDK's part for 10 ms."""
    cpu_points: float
    """Of the whole station, in percent of a processor."""
    rss_mb: float
    echo_dbfs: float
    """What comes back to who talks."""
    erle_db: float | None
    delay_ms: float
    misses: int
    hiccups: int
    """Of the simulated air, on a machine that is too busy: the figures of echo mean little then."""


class Air:
    """A room between a station's speaker and its microphone, until closed."""

    def __init__(self, sound: VirtualSound, place: SoundStation, tape: Tape, response: F64) -> None:
        self._tape, self._place, self._response = tape, place, response
        self.hiccups = 0
        """Times that this process was too slow to be air: a canceller has to learn anew after each."""
        self._done = threading.Event()
        words = ["pacat", "--raw", f"--rate={RATE_HZ}", "--format=s16le", f"--device={place.mouth_sink}"]
        words += ["--channels=1", "--channel-map=mono", f"--latency-msec={ROOM_LATENCY_MS}"]
        self._player = spawn(words, env={**os.environ, **sound.env}, stdin=subprocess.PIPE)
        as_hardware(self._player.pid)
        assert self._player.stdin is not None
        fcntl.fcntl(self._player.stdin, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._thread = threading.Thread(target=self._carry, name="air", daemon=True)
        self._thread.start()

    def _carry(self) -> None:
        assert self._player.stdin is not None
        at, before = self._tape.frames, np.zeros(len(self._response) - 1)
        with contextlib.suppress(BrokenPipeError, ValueError):
            while not self._done.wait(0.005):
                if self._tape.frames - at > BACKLOG_FRAMES:  # air does not queue
                    at, self.hiccups = self._tape.frames, self.hiccups + 1
                piece = self._tape.ear(self._place.name, at).astype(np.float64)
                if not piece.size:
                    continue
                at += piece.size
                self._tape.forget(at - 10 * RATE_HZ)
                sound = np.concatenate([before, piece])
                size = 1 << (sound.size + len(self._response)).bit_length()
                spectrum = np.fft.rfft(sound, size) * np.fft.rfft(self._response, size)
                heard = np.fft.irfft(spectrum, size)[len(before) : sound.size]
                before = sound[sound.size - len(before) :]
                self._player.stdin.write(np.clip(np.round(heard), -32768, 32767).astype(np.int16).tobytes())
                self._player.stdin.flush()

    def close(self) -> None:
        self._done.set()
        self._thread.join(2.0)
        self._player.kill()
        self._player.wait()


def native_us(processing: Processing) -> float:
    """Processor time of 10 ms at 48 kHz, median."""
    if not processing:
        return 0.0
    processor, took = SdkProcessor(processing, RATE_HZ), []
    far = speech(FRAMES / 100, 1, RATE_HZ).astype(np.int16).reshape(FRAMES, -1)
    near = speech(FRAMES / 100, 2, RATE_HZ).astype(np.int16).reshape(FRAMES, -1)
    for mine, theirs in zip(near, far, strict=True):
        began = time.thread_time()
        processor.process(mine, theirs, 30)
        took.append(time.thread_time() - began)
    return float(np.median(took)) * 1e6


def measure(call: Call, name: str, audio: dict[str, Any], seconds: float) -> Figure:
    """Switch, let it learn, and look."""
    call.near.write_config(call.settings(NEAR, audio))
    time.sleep(LEARN_S)
    call.near.next_metrics()
    hiccups = call.air.hiccups
    lines = [call.near.next_metrics() for _ in range(max(1, round(seconds / METRICS_S)))]
    heard = call.tape.ear(FAR)[-round(seconds * RATE_HZ) :].astype(np.float64)
    erle = [line["processing"]["erle_db"] for line in lines if line["processing"]["erle_db"] is not None]
    return Figure(
        name,
        native_us(Processing(**audio.get("input", {}).get("processing", {}))),
        100 * float(np.mean([line["process"]["cpu_ratio"] for line in lines])),
        lines[-1]["process"]["rss_bytes"] / 2**20,
        20 * math.log10(max(float(np.sqrt(np.mean(heard**2))), 1e-3) / 32768),
        float(np.mean(erle)) if erle else None,
        lines[-1]["processing"]["delay_ms"],
        lines[-1]["processing"]["misses"] - lines[0]["processing"]["misses"],
        call.air.hiccups - hiccups,
    )


METRICS_S: Final = 4


class Call:
    """Both stations, and the room that one of them stands in."""

    def __init__(self, server: LiveKitServer, sound: VirtualSound, directory: Path, ends: contextlib.ExitStack) -> None:
        self._server, self._sound = server, sound
        self.tape = ends.enter_context(sound.tape())
        stations = [Station(directory / name, self.settings(name, {}), coverage=False) for name in (NEAR, FAR)]
        self.near, self.far = (ends.enter_context(station) for station in stations)
        for station in stations:
            station.wait_event("state.changed", JOIN_S, to="online")
        response = room(0.2, 0.15, rate_hz=RATE_HZ)
        response *= COUPLING / np.abs(response).max()
        self.air = Air(sound, sound.station(NEAR), self.tape, response)
        ends.callback(self.air.close)
        talk = speech(60.0, 1, RATE_HZ)
        ends.enter_context(sound.play(FAR, np.round(talk).astype(np.int16), loop=True))

    def settings(self, name: str, audio: dict[str, Any]) -> dict[str, Any]:
        place = self._sound.station(name)
        more = {"audio": audio, "metrics": {"interval_s": METRICS_S}}
        return station_settings(name, server=self._server, sound=place, **more)


@contextlib.contextmanager
def calling() -> Iterator[Call]:
    """Everything up, and down again."""
    with preferred(), contextlib.ExitStack() as ends:
        sound = ends.enter_context(VirtualSound((NEAR, FAR)))
        os.environ.update(sound.env)
        server = ends.enter_context(LiveKitServer())
        directory = ends.enter_context(tempfile.TemporaryDirectory(prefix="alto-processing-"))
        yield Call(server, sound, Path(directory), ends)


def table(figures: list[Figure]) -> str:
    """For people, and for ARCHITECTURE."""
    names = ("setting", "µs in 10 ms", "CPU, points", "RSS, MB", "echo there, dBFS", "ERLE, dB", "hiccups")
    rows = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for one in figures:
        erle = "" if one.erle_db is None else f"{one.erle_db:.0f}"
        cells = f"{one.frame_us:.0f} | {one.cpu_points:.1f} | {one.rss_mb:.0f} | {one.echo_dbfs:.0f}"
        rows.append(f"| {one.name} | {cells} | {erle} | {one.hiccups} |")
    return "\n".join(rows)


def main() -> int:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each setting, after it has learned")
    parser.add_argument("settings", nargs="*", help=f"some of {', '.join(SETTINGS)}; default: all")
    words = parser.parse_args()
    names = words.settings or list(SETTINGS)
    figures: list[Figure] = []
    with calling() as call:
        for name in names:
            figures.append(measure(call, name, SETTINGS[name], words.seconds))
            print(figures[-1], file=sys.stderr, flush=True)
    print(table(figures))
    return int(any(one.name == "echo_cancellation" and (one.erle_db or 0.0) < ERLE_DB for one in figures))


if __name__ == "__main__":
    sys.exit(main())
