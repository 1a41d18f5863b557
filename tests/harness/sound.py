"""A virtual sound card for every station of a test: real, paced ALSA devices on a machine without sound hardware.

A private PulseAudio holds ONE null sink with many channels, the cable. Each station owns two of its channels: what is
played into its microphone (its mouth) and what its loudspeaker plays (its ear). ALSA reaches them as PCMs of type
pulse. All channels are recorded as one stream, so a delay between two of them is a distance in samples: the harness
adds nothing to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from tests.harness.processes import as_hardware, end, spawn
from tests.harness.wait import until

RATE_HZ: Final = 48_000
MAX_STATIONS: Final = 16  # PulseAudio has 32 channels a sink, a station takes two
NAMES: Final = ("kitchen", "porch", "garden", "cellar")
READY_S: Final = 15.0
PLAYER_LATENCY_MS: Final = 200  # the player's own buffer: rides over a busy machine, and no delay that is measured
TAPE_LATENCY_MS: Final = 20
PIPE_BYTES: Final = 1 << 20  # some seconds of recording: what the reader's thread may be kept waiting
ALSA_BASE: Final = "/usr/share/alsa/alsa.conf"
PATIENCE: Final = ((signal.SIGTERM, 2.0), (signal.SIGINT, 2.0))  # PulseAudio sometimes sleeps through SIGTERM

Pcm = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class SoundStation:
    """The two sound devices of one station, and their places on the cable."""

    name: str
    mouth_channel: int
    ear_channel: int

    @property
    def mic_pcm(self) -> str:
        """The ALSA name of its microphone."""
        return f"{self.name}_mic"

    @property
    def speaker_pcm(self) -> str:
        """The ALSA name of its loudspeaker."""
        return f"{self.name}_speaker"

    @property
    def mouth_sink(self) -> str:
        """The PulseAudio sink that feeds its microphone."""
        return f"{self.name}_mouth"


class VirtualSound:
    """The private PulseAudio with its cable. Start it before libasound is first used in the process."""

    def __init__(self, names: Iterable[str] = NAMES) -> None:
        stations = [SoundStation(name, 2 * i, 2 * i + 1) for i, name in enumerate(names)]
        assert 0 < len(stations) <= MAX_STATIONS, f"1 to {MAX_STATIONS} stations"
        self._stations: Final = {station.name: station for station in stations}
        self._directory: Final = tempfile.TemporaryDirectory(prefix="alto-sound-")
        self._daemon: subprocess.Popen[bytes] | None = None
        self._open: Final[list[Playing | Tape]] = []

    @property
    def channels(self) -> int:
        """Channels of the cable."""
        return 2 * len(self._stations)

    @property
    def directory(self) -> Path:
        """Where its socket and its ALSA definitions are; gone after `close()`."""
        return Path(self._directory.name)

    @property
    def env(self) -> dict[str, str]:
        """The variables that bring a process to these devices, and keep it from everybody else's."""
        return {
            "ALSA_CONFIG_PATH": f"{ALSA_BASE}:{self.directory / 'asound.conf'}",
            "PULSE_SERVER": f"unix:{self.directory / 'native'}",
            "PULSE_COOKIE": str(self.directory / "cookie"),
        }

    @property
    def log(self) -> str:
        """What PulseAudio wrote so far."""
        path = self.directory / "pulse.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def station(self, name: str) -> SoundStation:
        """The devices of one station; KeyError for a name that the cable was not made with."""
        return self._stations[name]

    # ---- life --------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start PulseAudio and wait for its devices."""
        pulseaudio = shutil.which("pulseaudio")
        assert pulseaudio, "no pulseaudio: run deploy/dev setup"
        self._write_files()
        words: list[str | Path] = [
            pulseaudio,
            "-n",
            "-F",
            self.directory / "pulse.pa",
            "--daemonize=no",
            "--exit-idle-time=-1",
        ]
        words += ["--use-pid-file=no", "--realtime", "--high-priority", "--log-target=stderr"]
        with (self.directory / "pulse.log").open("ab") as log:
            self._daemon = spawn(words, env=self._daemon_env(), stdout=log, stderr=log)
        until(self._is_up, READY_S, lambda: f"PulseAudio's devices; its log:\n{self.log}")
        as_hardware(self._daemon.pid)
        return self

    def close(self) -> None:
        """End the players, the tapes and PulseAudio; remove the files. Idempotent."""
        for helper in list(self._open):
            helper.stop()
        self._open.clear()
        if self._daemon is not None:
            end(self._daemon, *PATIENCE)
        self._directory.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # ---- what tests do with it ---------------------------------------------------------------------------------

    def play(self, name: str, samples: Pcm, *, loop: bool = False) -> Playing:
        """Play mono int16 at 48 kHz, shape (n,), into a station's microphone; `loop`: over and over until stopped."""
        playing = Playing(self._helper_command("pacat", self.station(name)), self._client_env(), samples, loop=loop)
        self._open.append(playing)
        return playing

    def tape(self) -> Tape:
        """Start to record the whole cable."""
        tape = Tape(self._helper_command("parec", None), self._client_env(), self)
        self._open.append(tape)
        return tape

    def record(self, seconds: float) -> Tape:
        """Record the whole cable for `seconds` of sound."""
        with self.tape() as tape:
            tape.wait(seconds)
        return tape

    # ---- steps -------------------------------------------------------------------------------------------------

    def _is_up(self) -> bool:
        assert self._daemon is not None
        code = self._daemon.poll()
        if code is not None:
            raise RuntimeError(f"PulseAudio ended at once with {code}; its log:\n{self.log}")
        # The script opens the socket last, after all devices are made.
        return (self.directory / "native").exists()

    def _private_env(self) -> dict[str, str]:
        home = self.directory / "home"
        home.mkdir(mode=0o700, exist_ok=True)
        return {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "XDG_CONFIG_HOME": str(home)}

    def _daemon_env(self) -> dict[str, str]:
        return {**os.environ, **self._private_env(), "PULSE_CONFIG": str(self.directory / "daemon.conf")}

    def _client_env(self) -> dict[str, str]:
        return {**os.environ, **self.env, **self._private_env()}

    def _write_files(self) -> None:
        (self.directory / "pulse.pa").write_text("\n".join(self._pulse_script()) + "\n")
        (self.directory / "asound.conf").write_text("\n".join(self._asound_conf()) + "\n")
        # Else PulseAudio has itself ended after 0.2 s of real time without a pause; on a busy machine that happens.
        (self.directory / "daemon.conf").write_text("rlimit-rttime = -1\n")

    def _pulse_script(self) -> Iterator[str]:
        channel_map = ",".join(f"aux{i}" for i in range(self.channels))
        # norewinds caps the sink's sleep at 50 ms. Without it an idle null sink sleeps 2 s ahead: a stream that starts
        # meanwhile is swallowed by one buffer, then stands still for up to 2 s (measured).
        yield (
            f"load-module module-null-sink sink_name=cable rate={RATE_HZ} format=s16le norewinds=1 "
            f"channels={self.channels} channel_map={channel_map}"
        )
        for station in self._stations.values():
            mouth, ear = (
                f"channels=1 channel_map=mono remix=no master_channel_map=aux{channel}"
                for channel in (station.mouth_channel, station.ear_channel)
            )
            yield f"load-module module-remap-sink sink_name={station.mouth_sink} master=cable {mouth}"
            yield f"load-module module-remap-source source_name={station.mic_pcm} master=cable.monitor {mouth}"
            yield f"load-module module-remap-sink sink_name={station.speaker_pcm} master=cable {ear}"
        yield f"load-module module-native-protocol-unix auth-anonymous=1 socket={self.directory / 'native'}"

    def _asound_conf(self) -> Iterator[str]:
        for station in self._stations.values():
            mic = self._pulse_pcm(station.mic_pcm)
            speaker = self._pulse_pcm(station.speaker_pcm)
            yield f"pcm.{station.mic_pcm} {{ type asym capture.pcm {mic} {_hint(station.name + ' microphone')} }}"
            yield f"pcm.{station.speaker_pcm} {{ type asym playback.pcm {speaker} {_hint(station.name + ' speaker')} }}"
        first = next(iter(self._stations.values()))
        # What a program gets that names no device: never the sound card of the person who runs the tests.
        yield (
            f"pcm.!default {{ type asym capture.pcm {first.mic_pcm} playback.pcm {first.speaker_pcm} "
            f"{_hint('Default')} }}"
        )

    def _pulse_pcm(self, device: str) -> str:
        return f'{{ type pulse server "unix:{self.directory / "native"}" device "{device}" }}'

    def _helper_command(self, program: str, player_for: SoundStation | None) -> list[str]:
        common = [program, "--raw", f"--rate={RATE_HZ}", "--format=s16le"]
        if player_for is not None:
            where = [f"--device={player_for.mouth_sink}", "--channels=1", "--channel-map=mono"]
            return [*common, *where, f"--latency-msec={PLAYER_LATENCY_MS}", f"--client-name=mouth-{player_for.name}"]
        channel_map = ",".join(f"aux{i}" for i in range(self.channels))
        where = ["--device=cable.monitor", f"--channels={self.channels}", f"--channel-map={channel_map}"]
        return [*common, *where, f"--latency-msec={TAPE_LATENCY_MS}", "--client-name=tape"]


class Playing:
    """A sound that goes into a station's microphone."""

    def __init__(self, command: list[str], env: Mapping[str, str], samples: Pcm, *, loop: bool) -> None:
        assert samples.dtype == np.int16, "mono int16 samples"
        assert samples.ndim == 1, "mono int16 samples"
        self._process: Final = spawn(command, env=env, stdin=subprocess.PIPE)
        as_hardware(self._process.pid)
        self._chunks: Final = itertools.repeat(samples.tobytes()) if loop else iter([samples.tobytes()])
        self._feeder: Final = threading.Thread(target=self._feed, name="mouth", daemon=True)
        self._feeder.start()

    def _feed(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):  # stopped
            for chunk in self._chunks:
                stdin.write(chunk)
        with contextlib.suppress(BrokenPipeError, ValueError):
            stdin.close()

    def wait(self, deadline_s: float = 60.0) -> None:
        """Until the last sample has been played."""
        until(lambda: self._process.poll() is not None, deadline_s, "the end of a sound")

    def stop(self) -> None:
        """Fall silent at once. Idempotent."""
        end(self._process)
        self._feeder.join(2.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


class Tape:
    """A recording of the whole cable; it can be looked at while it runs."""

    def __init__(self, command: list[str], env: Mapping[str, str], sound: VirtualSound) -> None:
        self._sound: Final = sound
        self._frame_bytes: Final = 2 * sound.channels
        self._data: Final = bytearray()
        self._forgotten = 0
        self._lock: Final = threading.Lock()
        self._process: Final = spawn(command, env=env, stdout=subprocess.PIPE)
        as_hardware(self._process.pid)
        assert self._process.stdout is not None
        fcntl.fcntl(self._process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._reader: Final = threading.Thread(target=self._read, name="tape", daemon=True)
        self._reader.start()
        self.wait(0.0)

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        while chunk := os.read(stdout.fileno(), 1 << 16):
            with self._lock:
                self._data.extend(chunk)
        stdout.close()

    @property
    def frames(self) -> int:
        """How long the recording is, in samples of each channel."""
        with self._lock:
            return self._forgotten + len(self._data) // self._frame_bytes

    def forget(self, before_frame: int) -> None:
        """Free what was recorded before `before_frame`: for recordings that go on for hours."""
        with self._lock:
            count = max(0, min(before_frame - self._forgotten, len(self._data) // self._frame_bytes))
            del self._data[: count * self._frame_bytes]
            self._forgotten += count

    def wait(self, seconds: float, deadline_s: float | None = None) -> None:
        """Until at least `seconds` more of sound were recorded."""
        enough = self.frames + max(1, round(seconds * RATE_HZ))
        patience_s = deadline_s if deadline_s is not None else 2 * seconds + 5.0
        until(lambda: self.frames >= enough or self._ended, patience_s, f"{seconds:g} s of sound on the cable")
        if self.frames < enough:
            raise AssertionError(f"the recorder ended (exit code {self._process.poll()}) before {seconds:g} s of sound")

    @property
    def _ended(self) -> bool:
        """Whether nothing more will come."""
        return self._process.poll() is not None and not self._reader.is_alive()

    def samples(self, since_frame: int = 0) -> Pcm:
        """The cable from `since_frame` (or what is not forgotten) on: int16, shape (n, channels)."""
        with self._lock:
            whole = len(self._data) // self._frame_bytes
            start = max(0, since_frame - self._forgotten)
            data = bytes(memoryview(self._data)[start * self._frame_bytes : whole * self._frame_bytes])
        return np.frombuffer(data, np.int16).reshape(-1, self._sound.channels)

    def mouth(self, name: str, since_frame: int = 0) -> Pcm:
        """What was played into a station's microphone: int16, shape (n,)."""
        return np.ascontiguousarray(self.samples(since_frame)[:, self._sound.station(name).mouth_channel])

    def ear(self, name: str, since_frame: int = 0) -> Pcm:
        """What a station's loudspeaker played: int16, shape (n,)."""
        return np.ascontiguousarray(self.samples(since_frame)[:, self._sound.station(name).ear_channel])

    def stop(self) -> None:
        """End the recording; what was recorded stays. Idempotent."""
        end(self._process, (signal.SIGTERM, 1.0))
        self._reader.join(2.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()


def _hint(description: str) -> str:
    return f'hint {{ show on description "Virtual {description}" }}'
