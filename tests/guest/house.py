"""A station in the guest, with its sound cards there, in a call with a peer and a server outside of it.

Everything is timed by this machine's clock, whatever the guest's does: what the station writes and what its speaker
plays comes through the shared directory.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import yaml

from tests.guest.boot import BOARD_PRIORITY, Guest
from tests.harness.netns import Switch
from tests.harness.peer import SdkPeer
from tests.harness.processes import going_first
from tests.harness.server import LiveKitServer
from tests.harness.signals import RATE_HZ, SILENCE_DBFS, VOICES_HZ, Pcm, level_dbfs
from tests.harness.station import Event, Station, merged, station_settings
from tests.harness.wait import until

INSIDE: Final = "tests.guest.inside_house"
FAULTS: Final = "tests.guest.inside_cards"
LOOK_S: Final = 0.01
JOIN_S: Final = 40.0  # a busy machine, and a guest that loads everything from a shared file system
STATION_HZ, BOB_HZ, *_ = VOICES_HZ
TENTH: Final = RATE_HZ // 10
BLOCK_FRAMES: Final = 960
LONG: Final = "--period-size=2400 --buffer-size=9600"  # of what stands for the world outside: it need not be quick
PROMPT: Final = "chrt --rr 40"  # the ends of the cables are the world outside: they must not wait for the station
HEARD_DBFS: Final = -30.0  # both say -12 dBFS

_names = itertools.count()


class Tail:
    """A growing file of the shared directory, read on a thread as it comes."""

    def __init__(self, path: Path, take: Callable[[bytes], None]) -> None:
        self._path, self._take = path, take
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No more after this."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._path.exists():
            if self._over.wait(LOOK_S):
                return
        with self._path.open("rb") as file:
            while not self._over.wait(LOOK_S):
                if data := file.read():
                    self._take(data)


class Program:
    """Something that runs in the guest until it is stopped."""

    def __init__(self, guest: Guest, name: str, words: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.file: Final = f"{name}-{next(_names)}.out"
        self._guest: Final = guest
        made = guest.call(f"{INSIDE}:launch", words=words, env=env or {}, out=f"/run/share/{self.file}")
        self.pid: Final = int(made[0])
        self.began_s: Final = float(made[1])
        """By the guest's clock."""

    @property
    def path(self) -> Path:
        """What it wrote, on this side."""
        return self._guest.share / self.file

    def send(self, number: signal.Signals) -> float:
        """To it and what it started; when that was, by the guest's clock."""
        return float(self._guest.call(f"{INSIDE}:send", pid=self.pid, number=number))

    @property
    def running(self) -> bool:
        return bool(self._guest.call(f"{INSIDE}:alive", pid=self.pid))

    def stop(self, number: signal.Signals = signal.SIGTERM, deadline_s: float = 10.0) -> None:
        """End it, by SIGKILL at last. Idempotent."""
        self.send(number)
        with contextlib.suppress(AssertionError):
            until(lambda: not self.running, deadline_s, "the program to end")
            return
        self.send(signal.SIGKILL)


class Speaker:
    """What a loudspeaker of the guest plays: the other end of its loopback cable, with the time when it came."""

    def __init__(self, guest: Guest, card: str) -> None:
        record = f"{PROMPT} arecord -q -D plughw:CARD={card},DEV=1 -t raw -f S16_LE -r {RATE_HZ} -c 1 {LONG}"
        loop = f"while :; do {record} || sleep 0.3; done"  # the card may be away
        self._program = Program(guest, "speaker", ["sh", "-c", loop])
        self._pieces: list[tuple[float, Pcm]] = []
        self._rest = b""
        self._tail = Tail(self._program.path, self._take)

    def _take(self, data: bytes) -> None:
        data = self._rest + data
        whole = len(data) // (2 * TENTH) * 2 * TENTH
        self._rest = data[whole:]
        for at in range(0, whole, 2 * TENTH):
            self._pieces.append((time.monotonic(), np.frombuffer(data[at : at + 2 * TENTH], np.int16)))

    def levels(self, hz: float, since_s: float = 0.0) -> list[tuple[float, float]]:
        """(When it had come, level of the tone in dBFS) of each tenth of a second."""
        return [(at_s, level_dbfs(piece, hz)) for at_s, piece in list(self._pieces) if at_s >= since_s]

    def wait_hears(self, hz: float, deadline_s: float, since_s: float = 0.0) -> float:
        """Until the tone is heard; when that was, on this machine's clock."""

        def look() -> float:
            return next((at_s for at_s, level in self.levels(hz, since_s) if level > HEARD_DBFS), 0.0)

        return until(look, deadline_s, lambda: f"{hz:g} Hz at the speaker: {self.levels(hz, since_s)[-20:]}")

    def close(self) -> None:
        self._tail.close()
        self._program.stop(signal.SIGKILL)


class GuestStation(Station):
    """`alto run` in the guest. Its directory there is /run/NAME; what it says comes through the shared directory."""

    def __init__(self, guest: Guest, directory: Path, name: str, config: Mapping[str, Any], asound: str = "") -> None:
        self._guest: Final = guest
        self._home: Final = f"/run/{name}-{next(_names)}"
        self._program: Program | None = None
        self._tail: Tail | None = None
        self._partial = b""
        super().__init__(directory, config, coverage=False)
        guest.call(f"{INSIDE}:write", path=f"{self._home}/asound.conf", text=f"</usr/share/alsa/alsa.conf>\n{asound}\n")

    def write_config(self, config: Mapping[str, Any]) -> None:
        """See `Station.write_config`."""
        text = yaml.safe_dump(dict(config), allow_unicode=True, sort_keys=False)
        self._guest.call(f"{INSIDE}:write", path=f"{self._home}/alto.yaml", text=text)

    def start(self) -> Self:
        """See `Station.start`."""
        env = {
            "RUNTIME_DIRECTORY": f"{self._home}/run",
            "STATE_DIRECTORY": f"{self._home}/state",
            "ALSA_CONFIG_PATH": f"{self._home}/asound.conf",
        }
        for place in ("run", "state"):
            self._guest.call(f"{INSIDE}:write", path=f"{self._home}/{place}/made", text="")
        words = ["python", "-m", "appliance", "run", "-c", f"{self._home}/alto.yaml"]
        self._program = Program(self._guest, "station", words, env)
        self._tail = Tail(self._program.path, self._take_bytes)
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM, deadline_s: float = 10.0) -> int:
        """See `Station.stop`; 0, whatever its exit code was."""
        if self._program is not None and self._tail is not None:
            self._program.stop(number, deadline_s)
            self._tail.close()
            self._program = None
        return 0

    @property
    def running(self) -> bool:
        return self._program is not None and self._program.running

    @property
    def stderr(self) -> str:
        if self._program is None:
            return ""
        path = self._program.path
        return path.with_name(path.name + ".err").read_text(errors="replace")

    def story(self, count: int = 30) -> str:
        """See `Station.story`; of the figures the last line only."""
        told = [line for line in self.lines if '"event": "metrics"' not in line]
        figures = [line for line in self.lines if line not in told]
        return "\n".join(("--- the station in the guest", *told[-count:], *figures[-1:], self.stderr[-4000:], "---"))

    def _ended(self) -> bool:
        return False  # asking the guest takes a tenth of a second; a wait has its deadline

    def _take_bytes(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self.lines.append(line.decode(errors="replace"))
            self._take(self.lines[-1])


class House:
    """The station `kitchen` in the guest, `bob` and the server outside. Make it on the main thread; needs root."""

    microphone: Final = "Kitchen"
    speaker: Final = "Porch"

    def __init__(self, guest: Guest, switch: Switch, directory: Path) -> None:
        self.guest: Final = guest
        self._directory: Final = directory
        self._stack: Final = contextlib.ExitStack()
        with going_first(BOARD_PRIORITY):
            self.server: Final = self._stack.enter_context(LiveKitServer(switch.machine()))
            self.bob: Final = self._stack.enter_context(SdkPeer(self.server, "bob", machine=switch.machine()))
        self.bob.say(BOB_HZ)
        self.says(self.microphone, STATION_HZ)
        self.ear: Final = self._stack.enter_context(contextlib.closing(Speaker(guest, self.speaker)))

    def settings(self, **more: Any) -> dict[str, Any]:
        """Its alto.yaml. Blocks of 20 ms: each costs a guest more than a board."""
        audio = {
            "block_ms": BLOCK_FRAMES * 1000 // RATE_HZ,
            "input": {"enabled": True, "device": f"plughw:CARD={self.microphone},DEV=1"},
            "output": {"enabled": True, "device": f"plughw:CARD={self.speaker}"},
        }
        base = station_settings("kitchen", server=self.server, audio=audio, metrics={"interval_s": 1})
        return merged(base, more)

    @contextlib.contextmanager
    def station(self, asound: str = "", **more: Any) -> Iterator[GuestStation]:
        """The station, running; not yet in the call."""
        one = GuestStation(self.guest, self._directory, "kitchen", self.settings(**more), asound)
        with one:
            yield one

    def both_hear(self, station: GuestStation, deadline_s: float = JOIN_S) -> None:
        """Until the call is up in both directions."""
        station.wait_event("state.changed", deadline_s, to="online")
        self.bob.wait_hears("kitchen", STATION_HZ, deadline_s, above_dbfs=HEARD_DBFS)
        self.ear.wait_hears(BOB_HZ, deadline_s, time.monotonic())

    def in_guest(self, name: str, **arguments: Any) -> Any:
        """A function of `inside_house`."""
        return self.guest.call(f"{INSIDE}:{name}", **arguments)

    def bob_hears(self, seconds: float) -> float:
        """Share of that time in which the station's tone arrives at bob's, in fifths of a second."""
        looks = [self.bob.levels((STATION_HZ,), 0.2).get("kitchen", {}) for _ in range(round(seconds * 5))]
        return sum(look.get(STATION_HZ, SILENCE_DBFS) > HEARD_DBFS for look in looks) / len(looks)

    def ear_hears(self, since_s: float) -> float:
        """Share of the time since then in which bob's tone was played, in tenths of a second."""
        heard = sum(level > HEARD_DBFS for _, level in self.ear.levels(BOB_HZ, since_s))
        return min(1.0, heard / ((time.monotonic() - since_s) * 10))

    def says(self, card: str, hz: float) -> None:
        """From now on a tone goes into that card's cable, again after the card was away."""
        raw = f"/run/tmp/{card}.raw"
        self.in_guest("write_tone", path=raw, hz=hz, seconds=60)
        play = f"{PROMPT} aplay -q -D hw:CARD={card},DEV=0 -t raw -f S16_LE -r {RATE_HZ} -c 1 {LONG} {raw}"
        program = Program(self.guest, "mouth", ["sh", "-c", f"while :; do {play} || sleep 0.3; done"])
        self._stack.callback(program.stop, signal.SIGKILL)

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def since_s(event: Event, began_s: float) -> float:
    """How long after `began_s` the station said it, both by the guest's clock."""
    return datetime.fromisoformat(event["timestamp"]).timestamp() - began_s
