"""The clients that are compared: commands with blanks to fill in, and the processes that they become."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.harness.processes import descendants, end, spawn
from tests.harness.sound import SoundStation
from tests.harness.station import FOREIGN, ROOT

STOP_S: Final = 5.0
TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGESIZE")
METRICS_S: Final = 5

_ALTO: Final = (
    "{python} -m appliance run --identity {identity} --room-name {room} --url {url} --input-device {microphone} "
    f"--output-device {{speaker}} --log-format json --set metrics.interval_s={METRICS_S} "
    "--set audio.max_streams=99"  # as its peers do: everybody is played
)
ALTO: Final = "alto"
PEER: Final = "mediadevices"
CLIENTS: Final[Mapping[str, str]] = {
    ALTO: _ALTO,
    PEER: "{python} -m tests.bench.mediadevices {microphone} {speaker}",
    "alto-5ms": f"{_ALTO} --set audio.block_ms=5",  # what less delay costs
    "alto-50ms": f"{_ALTO} --set audio.block_ms=50",  # as the description has it
}
"""Name -> command. Blanks: python, identity, room, url, token, microphone, speaker (ALSA names). Every client finds
LIVEKIT_URL and LIVEKIT_TOKEN in its environment as well, and runs in a folder of its own with an alto.yaml of nothing
but the address."""
ON_REQUEST: Final[Mapping[str, str]] = {f"{PEER}-processing": f"{CLIENTS[PEER]} --processing"}
"""Measured only when named: noise suppression takes a steady tone for noise, so its gaps and levels mean nothing."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client is to join, and as whom."""

    identity: str
    room: str
    url: str
    token: str
    sound: SoundStation


@dataclass(frozen=True, slots=True)
class Usage:
    """One look at a client's processes."""

    at_s: float
    cpu_s: float
    rss_mb: float


class Client:
    """A client while it runs, a black box: what it says is kept. Start it from the main thread."""

    def __init__(self, command: str, place: Place, directory: Path, env: Mapping[str, str]) -> None:
        self._words: Final = [word.format(**_blanks(place)) for word in shlex.split(command)]
        self._directory: Final = directory
        self._env: Final = _environment(place, directory, env)
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._lines: Final[list[str]] = []

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def story(self) -> str:
        """The last lines that it wrote."""
        return "\n".join(self._lines[-20:])

    def usage(self) -> Usage:
        """What it and its children have used so far, and hold now."""
        assert self._process is not None, "the client was not started"
        looks = [_usage(pid) for pid in (self._process.pid, *descendants(self._process.pid))]
        return Usage(time.monotonic(), sum(cpu_s for cpu_s, _ in looks), sum(rss_mb for _, rss_mb in looks))

    def mark(self) -> int:
        """Now, as a place among its lines: hand it to `metrics`."""
        return len(self._lines)

    def metrics(self, since: int) -> list[dict[str, Any]]:
        """The `metrics` lines that an alto wrote since; empty for others."""
        found = []
        for line in self._lines[since:]:
            if line.startswith("{") and '"metrics"' in line:
                event = json.loads(line)
                found += [event] if event.get("event") == "metrics" else []
        return found

    def __enter__(self) -> Self:
        (self._directory / "alto.yaml").write_text(f"livekit: {{url: '{self._env['LIVEKIT_URL']}'}}\n")
        self._process = spawn(
            self._words, env=self._env, cwd=self._directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._process is not None:
            end(self._process, (signal.SIGTERM, STOP_S))
        if self._reader is not None:
            self._reader.join(2.0)

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for line in stdout:
                self._lines.append(line.decode(errors="replace").rstrip("\n"))


def _blanks(place: Place) -> dict[str, str]:
    return {
        "python": sys.executable,
        "identity": place.identity,
        "room": place.room,
        "url": place.url,
        "token": place.token,
        "microphone": place.sound.mic_pcm,
        "speaker": place.sound.speaker_pcm,
    }


def _environment(place: Place, directory: Path, more: Mapping[str, str]) -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if key not in FOREIGN}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), env.get("PYTHONPATH"))))
    for variable in ("RUNTIME_DIRECTORY", "STATE_DIRECTORY"):
        (directory / variable.lower()).mkdir(mode=0o700, parents=True, exist_ok=True)
        env[variable] = str(directory / variable.lower())
    return {**env, "LIVEKIT_URL": place.url, "LIVEKIT_TOKEN": place.token, **more}


def _usage(pid: int) -> tuple[float, float]:
    """(processor time in s, resident memory in MB); zeros for a process that has just gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0, 0.0
    return (int(stat[11]) + int(stat[12])) / TICKS, pages * PAGE_BYTES / 1e6
