"""A station as a user has it: a real `alto run` process, watched through the lines that it writes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import yaml

from tests.harness.netns import Machine
from tests.harness.processes import end, read_by_threads, resume, spawn
from tests.harness.server import LiveKitServer
from tests.harness.sound import SoundStation
from tests.harness.wait import until

ROOT: Final = Path(__file__).resolve().parents[2]
ALTO: Final = (sys.executable, "-m", "appliance")
STOP_S: Final = 5.0  # alto promises two seconds; a busy test machine gets more before the process is killed
FOREIGN: Final = (
    "ALTO_CONFIG",
    "CREDENTIALS_DIRECTORY",
    "JOURNAL_STREAM",
    "LIVEKIT_API_KEY",
    "LIVEKIT_API_SECRET",
    "LIVEKIT_TOKEN",
    "LIVEKIT_URL",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
)
"""Variables of whoever runs the tests that would change what a station does."""

Event = dict[str, Any]
"""One line of a station's standard output."""


def station_settings(
    identity: str,
    *,
    server: LiveKitServer,
    room: str = "home",
    sound: SoundStation | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The alto.yaml of a station in the test server; `more` is merged into it, section by section.

    Without `sound` the station has neither microphone nor speaker.
    """
    off = {"enabled": False}
    base: dict[str, Any] = {
        "identity": identity,
        "room": room,
        "livekit": {"url": server.url, "api_key": server.api_key, "api_secret": server.api_secret},
        "audio": {
            "input": {"device": sound.mic_pcm} if sound else off,
            "output": {"device": sound.speaker_pcm} if sound else off,
        },
    }
    return merged(base, more)


class Station:
    """One `alto run` process with a runtime and a state directory of its own.

    `directory`: a fresh folder for its files (tmp_path). `config`: the content of its alto.yaml, or a path to one.
    `arguments` follow `alto run -c FILE`; `command` stands for `alto`: a program that starts it. `coverage=False` keeps
    line tracing out of a process that is timed.
    `on_line` is handed each line of standard output, on a thread. `machine`: where in a test's network it runs.
    """

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, Any] | Path,
        *,
        arguments: Sequence[str] = (),
        command: Sequence[str] = ALTO,
        env: Mapping[str, str] | None = None,
        coverage: bool = True,
        on_line: Callable[[str], None] | None = None,
        machine: Machine | None = None,
    ) -> None:
        self.directory: Final = directory
        self.lines: Final[list[str]] = []
        """Every line of standard output as it came."""
        self.seen: Final[list[Event]] = []
        """Every line that parsed, in order; `arrived_s` (monotonic) was added."""
        self.garbage: Final[list[str]] = []
        """Lines that were no JSON object: there should be none."""
        self._arguments: Final = list(arguments)
        self._command: Final = list(command)
        self._on_line: Final = on_line
        self._inside: Final = machine.words if machine else ()
        self._env: Final = self._environment(env or {}, coverage)
        self._process: subprocess.Popen[bytes] | None = None
        self._readers: list[threading.Thread] = []
        self._stderr: Final[list[str]] = []
        directory.mkdir(parents=True, exist_ok=True)
        self.config_path: Final = config if isinstance(config, Path) else directory / "alto.yaml"
        if not isinstance(config, Path):
            self.write_config(config)

    @property
    def runtime_dir(self) -> Path:
        return self.directory / "run"

    @property
    def state_dir(self) -> Path:
        return self.directory / "state"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the station was not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def stderr(self) -> str:
        """What it wrote to standard error: nothing, as long as all is well."""
        return "".join(self._stderr)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Replace alto.yaml as editors do: a new file, moved over the old one."""
        fresh = self.config_path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(yaml.safe_dump(dict(config), allow_unicode=True, sort_keys=False))
        fresh.replace(self.config_path)

    # ---- life --------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start the process; does not wait for anything. Call it from the main thread (see `spawn`)."""
        alto = [*self._inside, *self._command]
        self._process = spawn(
            [*alto, "run", "-c", self.config_path, *self._arguments],
            env=self._env,
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            death_signal="TERM",  # so that it can stop its embedded server
        )
        self._readers = read_by_threads(self._read_stdout, self._read_stderr)
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM, deadline_s: float = STOP_S) -> int:
        """Ask it to end and return its exit code; killed after `deadline_s` (the code is then -9). Idempotent."""
        if self._process is None:
            return 0
        resume(self._process.pid)
        code = end(self._process, (number, deadline_s))
        for reader in self._readers:
            reader.join(2.0)
        return code

    def kill(self) -> None:
        """SIGKILL, as a power cut."""
        self.stop(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """SIGHUP to reload, SIGSTOP to freeze, SIGCONT to thaw, and so on."""
        os.kill(self.pid, number)

    def wait_end(self, deadline_s: float) -> int:
        """Until the process has ended by itself; its exit code."""
        assert self._process is not None, "the station was not started"
        process = self._process
        until(lambda: process.poll() is not None, deadline_s, lambda: f"the end of the station\n{self.story()}")
        for reader in self._readers:
            reader.join(2.0)
        return process.returncode

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    # ---- what it says ------------------------------------------------------------------------------------------

    def mark(self) -> int:
        """Now, as a place among the events: hand it to `events` or `wait_event` as `since`."""
        return len(self.seen)

    def events(self, name: str | None = None, *, since: int = 0, **fields: Any) -> list[Event]:
        """Lines with that event name and those fields; a field may be a function that says whether a value is meant."""
        return [event for event in self.seen[since:] if _fits(event, name, fields)]

    def wait_event(self, name: str, deadline_s: float, *, since: int = 0, **fields: Any) -> Event:
        """The first such line after `since`, waiting for it. Fails at once, with the story, when the process ends."""

        def look() -> Event | None:
            ended = self._ended()
            if found := self.events(name, since=since, **fields):
                return found[0]
            if ended:
                raise StationEnded(f"the station ended before {name} {fields or ''}\n{self.story()}")
            return None

        event = until(look, deadline_s, lambda: f"{name} {fields or ''}\n{self.story()}")
        assert event is not None
        return event

    def next_metrics(self, deadline_s: float = 65.0) -> Event:
        """The next `metrics` line that it writes."""
        return self.wait_event("metrics", deadline_s, since=self.mark())

    def alto(self, *words: str, deadline_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run another command (`status`, `--json`) with this station's file and directories."""
        command, *rest = words
        return subprocess.run(
            [*ALTO, command, "-c", str(self.config_path), *rest],
            env=self._env,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=deadline_s,
            check=False,
        )

    def story(self, count: int = 30) -> str:
        """The last lines it wrote, for a failure's message."""
        code = self._process.poll() if self._process else None
        words = "runs" if code is None else f"ended with {code}"
        return "\n".join((f"--- {self.directory.name} {words}", *self.lines[-count:], self.stderr[-4000:], "---"))

    # ---- steps -------------------------------------------------------------------------------------------------

    def _environment(self, more: Mapping[str, str], coverage: bool) -> dict[str, str]:
        env = {key: value for key, value in os.environ.items() if key not in FOREIGN}
        if not coverage:
            env = {key: value for key, value in env.items() if not key.startswith("COVERAGE_PROCESS")}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), env.get("PYTHONPATH"))))
        for variable, place in (("RUNTIME_DIRECTORY", self.runtime_dir), ("STATE_DIRECTORY", self.state_dir)):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            env[variable] = str(place)
        return {**env, **more}

    def _ended(self) -> bool:
        """Whether the process is over and everything that it wrote has been read."""
        assert self._process is not None, "the station was not started"
        return self._process.poll() is not None and not any(reader.is_alive() for reader in self._readers)

    def _read_stdout(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for raw in stdout:
                line = raw.decode(errors="replace").rstrip("\n")
                self.lines.append(line)
                self._take(line)
                if self._on_line is not None:
                    self._on_line(line)

    def _take(self, line: str) -> None:
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict):
                event["arrived_s"] = time.monotonic()
                self.seen.append(event)
                return
        self.garbage.append(line)

    def _read_stderr(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            for raw in stderr:
                self._stderr.append(raw.decode(errors="replace"))


class StationEnded(Exception):
    """The process ended while a test waited for it to say something."""


def _fits(event: Event, name: str | None, fields: Mapping[str, Any]) -> bool:
    if name is not None and event.get("event") != name:
        return False
    return all(
        key in event and (wanted(event[key]) if callable(wanted) else event[key] == wanted)
        for key, wanted in fields.items()
    )


def merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`more` laid over `base`, mapping by mapping."""
    result = dict(base)
    for key, value in more.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result
