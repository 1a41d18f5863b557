"""What a station grows by with each reconnect and with each participant, beside the bare SDK that does the same.

`python -m tests.faults.leaks` is the long form: it prints a table and fails where a bound is broken; `test_leaks.py`
holds a short form to the same bounds.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.faults.growth import Growth, Reading, fit, read
from tests.harness.processes import end, spawn
from tests.harness.server import LiveKitServer
from tests.harness.sound import VirtualSound
from tests.harness.station import ROOT, Station, station_settings
from tests.harness.wait import until

ROOM: Final = "home"
BACK_S: Final = 20.0
GUEST_S: Final = 30.0
AT_ONCE: Final = 4
QUICK: Final = {"retry_min_s": 0.1, "retry_max_s": 0.5}  # this measures memory, not patience


class Told:
    """A process of `tests.faults.visitors`, and every line that it told."""

    def __init__(self, part: str, url: str, tokens: list[str], *words: str) -> None:
        self.lines: Final[list[Mapping[str, Any]]] = []
        command = [sys.executable, "-m", "tests.faults.visitors", part, url, *words]
        self._process = spawn(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        self._process.stdin.write("\n".join(tokens).encode())
        self._process.stdin.close()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def count(self, word: str) -> int:
        """How many lines hold that word."""
        return sum(word in line for line in self.lines)

    def story(self) -> str:
        """How it stands, for a failure's message."""
        return f"the visitor {'runs' if self.running else 'has ended'}; it told last: {self.lines[-5:]}"

    def close(self) -> None:
        """End it."""
        end(self._process)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                self.lines.append(json.loads(line))


class Household:
    """One station and one bare SDK in the same room of the same server: what happens, happens to both."""

    def __init__(self, directory: Path, server: LiveKitServer, sound: VirtualSound | None) -> None:
        self.server = server
        voice = sound.station("kitchen") if sound else None
        self._settings = station_settings("kitchen", server=server, room=ROOM, sound=voice, supervisor=QUICK)
        self._names = (f"Kitchen {number}" for number in itertools.count())
        self.station = Station(directory / "kitchen", self._settings, coverage=False)
        self.bare: Told | None = None
        self.readings: dict[str, list[Reading]] = {}

    def __enter__(self) -> Household:
        self.station.start()
        self.station.wait_event("room.connected", BACK_S)
        self.bare = Told("stay", self.server.url, [self.server.token("bare", ROOM)])
        self._until_both_are_back((0, 0))
        return self

    def __exit__(self, *_: object) -> None:
        if self.bare is not None:
            self.bare.close()
        self.station.stop()

    @property
    def _bare(self) -> Told:
        assert self.bare is not None
        return self.bare

    # ---- what happens to them ----------------------------------------------------------------------------------

    def be_thrown_out(self, times: int) -> None:
        """The server closes the room under both, again and again; each joins it anew. Whom it throws out first still
        has the other's voice at that moment, and pays for it as one who leaves."""
        self._repeat(times, self.server_deletes_the_room)

    def leave(self, times: int) -> None:
        """First the station, then the bare SDK leaves by itself and comes back."""

        def one_after_the_other() -> None:
            station, bare = self._joined()
            self.station.write_config({**self._settings, "name": next(self._names)})
            self.station.signal(signal.SIGHUP)
            until(lambda: self._joined()[0] > station, BACK_S, self.station.story)
            os.kill(self._bare.pid, signal.SIGUSR1)
            until(lambda: self._joined()[1] > bare, BACK_S, self._bare.story)

        self._repeat(times, one_after_the_other)

    def lose_the_server(self, times: int) -> None:
        """The server dies under both and is back at once: the SDK's own full reconnect, or a new session."""

        def restart() -> None:
            self.server.kill()
            self.server.start()

        self._repeat(times, restart)

    def receive_guests(self, times: int) -> None:
        """So many participants come, say something and leave, several at once."""
        self.readings = {"station": [], "bare": []}
        tokens = [self.server.token(f"guest-{number}", ROOM) for number in range(times)]
        guests = Told("come", self.server.url, tokens, "--at-once", str(AT_ONCE))
        try:
            while guests.running:
                self._look(guests.count("visited"))
                until(
                    lambda n=self._last.count: guests.count("visited") > n or not guests.running, GUEST_S, guests.story
                )
        finally:
            guests.close()
        assert guests.count("visited") == times, guests.story()

    def server_deletes_the_room(self) -> None:
        """By the server's own API."""
        token = self.server.token("keeper", ROOM, room_create=True, room_admin=True)
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.server.port}/twirp/livekit.RoomService/DeleteRoom",
            data=json.dumps({"room": ROOM}).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=5.0):  # noqa: S310  # our own server on 127.0.0.1
            pass

    def _repeat(self, times: int, happens: Callable[[], None]) -> None:
        self.readings = {"station": [], "bare": []}
        for number in range(times):
            self._look(number)
            before = self._joined()
            happens()
            self._until_both_are_back(before)

    def _joined(self) -> tuple[int, int]:
        """How often each was in and heard the other."""
        return len(self.station.events("stream.started")), self._bare.count("heard") + self._bare.count("reconnected")

    def _until_both_are_back(self, before: tuple[int, int]) -> None:
        def both() -> bool:
            return all(now > then for now, then in zip(self._joined(), before, strict=True))

        until(both, BACK_S, lambda: f"both to be back: {before}; {self._bare.story()}\n{self.station.story()}")

    # ---- what came of it ---------------------------------------------------------------------------------------

    def growth(self) -> dict[str, Growth]:
        """By `station` and `bare`, after the first quarter: pools and caches fill first."""
        return {name: fit(readings, warm_up=self._last.count // 4) for name, readings in self.readings.items()}

    @property
    def _last(self) -> Reading:
        return self.readings["station"][-1]

    def _look(self, count: int) -> None:
        for name, pid in (("station", self.station.pid), ("bare", self._bare.pid)):
            self.readings[name].append(read(pid, count))


@dataclass(frozen=True, slots=True)
class Run:
    """How often something happens, and what it may cost each time."""

    times: int
    most_kb: float


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that happens to a household again and again."""

    happens: Callable[[Household, int], None]
    long: Run
    short: Run
    """In the first minute pools still fill: the bound is what one more voice or session left behind would break."""


PARTS: Final = {
    # The SDK (livekit 1.2.1) keeps about 475 KiB of each voice that is there when a session ends, and next to nothing
    # when nobody is; here it is one voice.
    "thrown out": Part(Household.be_thrown_out, long=Run(300, 500.0), short=Run(32, 900.0)),
    "left": Part(Household.leave, long=Run(100, 600.0), short=Run(32, 900.0)),
    "lost the server": Part(Household.lose_the_server, long=Run(40, 600.0), short=Run(12, 1200.0)),
    "received a guest": Part(Household.receive_guests, long=Run(500, 40.0), short=Run(80, 300.0)),
}
FLAT: Final = 0.1
"""Threads and files each time: less than one in ten, so that none of them is left behind."""


def breaches(run: Run, growth: Mapping[str, Growth]) -> list[str]:
    """Where the station grew by more than it may."""
    station = growth["station"]
    found = {
        f"{station.rss_kb_each:.0f} KiB each time, above {run.most_kb:.0f}": station.rss_kb_each > run.most_kb,
        f"{station.threads_each:.2f} threads each time": station.threads_each > FLAT,
        f"{station.fds_each:.2f} files each time": station.fds_each > FLAT,
    }
    return [what for what, broken in found.items() if broken]


@contextlib.contextmanager
def household(directory: Path) -> Iterator[Household]:
    """One with a server and sound of its own."""
    with VirtualSound() as sound, LiveKitServer() as server:
        os.environ.update(sound.env)
        with Household(directory, server, sound) as home:
            yield home


def main() -> int:
    """The long form. Exit code 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--short", action="store_true", help="as in the test")
    args = parser.parse_args()
    broken = False
    for name in args.parts or PARTS:
        part = PARTS[name]
        run = part.short if args.short else part.long
        began_s = time.monotonic()
        with tempfile.TemporaryDirectory() as directory, household(Path(directory)) as home:
            part.happens(home, run.times)
        growth = home.growth()
        print(f"{name} {run.times} times, {time.monotonic() - began_s:.0f} s")
        for who, grew in growth.items():
            print(f"  {who:8} from {home.readings[who][0].rss_kb / 1024:.0f} MiB: {grew}")
        for what in breaches(run, growth):
            broken = True
            print(f"  broken: {what}")
        sys.stdout.flush()
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
