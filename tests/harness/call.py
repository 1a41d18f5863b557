"""`deploy/dev run`: two stations in a call on this machine, measured from mouth to ear.

`kitchen` runs from the alto.yaml of the repository with its embedded server, `porch` from a file made here; both are
ordinary `alto run` processes. On standard output: the stations' own lines, untouched, and a few summary lines that
start with "# "; on a terminal a live view instead. Exit code 0 when each heard the other.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

from tests.harness.callview import LiveView, PlainView, View
from tests.harness.ear import Ear
from tests.harness.ports import free_ports
from tests.harness.signals import VOICES_HZ, announcement
from tests.harness.sound import Tape, VirtualSound
from tests.harness.station import ROOT, Station, StationEnded

EX_USAGE: Final = 64
JOIN_S: Final = 60.0  # a cold start on a slow board loads the SDK for ten seconds
LOOK_S: Final = 0.25
METRICS_S: Final = 5
ROOM: Final = "home"
VOICE_HZ: Final = {"kitchen": VOICES_HZ[0], "porch": VOICES_HZ[1]}


class Interrupted(Exception):
    """Ctrl-C, SIGTERM or SIGHUP."""


def main(argv: Sequence[str] | None = None) -> int:
    """Hold the call; returns the exit code."""
    args = _parser().parse_args(argv)
    interrupts = _Interrupts()
    card = None if args.virtual else real_card()
    view: View = LiveView() if sys.stdout.isatty() and not args.plain else PlainView()
    call = Call(view, card, args.metrics)
    with view, tempfile.TemporaryDirectory(prefix="alto-call-") as directory, contextlib.ExitStack() as stack:
        stack.callback(interrupts.ignore)  # cleaning up is not interrupted
        try:
            call.start(stack, Path(directory))
            call.hold(args.seconds)
        except Interrupted:
            pass
        except (StationEnded, AssertionError) as error:
            what, _, story = str(error).partition("\n")
            view.say(f"the call did not come about: {what}")
            print(story, file=sys.stderr)
    for line in call.summary():
        view.say(line)
    return 0 if call.good else 1


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EX_USAGE, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="deploy/dev run", description="Two stations in a call on this machine.")
    parser.add_argument("--seconds", type=float, help="end the call after that long; default: at Ctrl-C")
    parser.add_argument("--virtual", action="store_true", help="leave a real sound card alone")
    parser.add_argument(
        "--metrics", type=int, metavar="PORT", help="let Prometheus ask: kitchen at 127.0.0.1:PORT, porch at the next"
    )
    parser.add_argument("--plain", action="store_true", help="lines instead of the live view, on a terminal too")
    return parser


def real_card(listing: Path = Path("/proc/asound/cards")) -> str | None:
    """The first sound card of this machine, if it has one."""
    try:
        found = re.search(r"^ *\d+ \[.*?\]: (.+)$", listing.read_text(), re.MULTILINE)
    except OSError:
        return None
    return found.group(1) if found else None


class Call:
    """kitchen and porch, their sound and what is measured."""

    def __init__(self, view: View, card: str | None, metrics_port: int | None = None) -> None:
        self._view: Final = view
        self._card: Final = card
        ports = (metrics_port, metrics_port + 1) if metrics_port is not None else ()
        self._listen: Final = dict(zip(VOICE_HZ, (f"127.0.0.1:{port}" for port in ports), strict=False))
        self._ears: list[Ear] = []
        self._tape: Tape | None = None
        self._stations: dict[str, Station] = {}
        self._since_s = 0.0

    @property
    def good(self) -> bool:
        """Whether each hears the other."""
        return bool(self._stations) and all(self._hears(who) for who in VOICE_HZ)

    def start(self, stack: contextlib.ExitStack, directory: Path) -> None:
        """Bring up sound and stations, in that order; `stack` takes them down again."""
        sound = stack.enter_context(VirtualSound(tuple(VOICE_HZ)))
        kitchen = self._kitchen(directory / "kitchen", sound)
        stack.enter_context(kitchen)
        kitchen.wait_event("server.started", JOIN_S)
        porch = stack.enter_context(self._porch(directory / "porch", sound, kitchen.state_dir / "embedded"))
        self._stations = {"kitchen": kitchen, "porch": porch}
        for station in self._stations.values():
            station.wait_event("room.connected", JOIN_S)
        self._since_s = time.monotonic()
        self._tape = stack.enter_context(sound.tape())
        for name, voice_hz in VOICE_HZ.items():
            stack.enter_context(sound.play(name, announcement(voice_hz), loop=True))
        if self._card is None:
            self._ears = [
                Ear(self._tape, speaker=speaker, listener=listener, voice_hz=VOICE_HZ[speaker])
                for speaker, listener in (("kitchen", "porch"), ("porch", "kitchen"))
            ]

    def hold(self, seconds: float | None) -> None:
        """Measure and show until the time is over, a station ends, or somebody interrupts."""
        told = False
        while seconds is None or time.monotonic() - self._since_s < seconds:
            time.sleep(LOOK_S)
            self._measure()
            self._view.show(self._stations, self._ears, time.monotonic() - self._since_s)
            if not told and self.good:
                told = True
                self._view.say(f"kitchen and porch hear each other, {time.monotonic() - self._since_s:.1f} s into it")
            for station in self._stations.values():
                if not station.running:
                    raise StationEnded(station.story())
        self._measure()

    def summary(self) -> Iterator[str]:
        """What came of it, in a few lines."""
        if not self._stations:
            return
        if self._card is not None:
            yield f"kitchen used {self._card}: no mouth-to-ear time, that takes the virtual devices (--virtual)"
            yield from (f"{who} {'heard' if self._hears(who) else 'did not hear'} the other" for who in VOICE_HZ)
        yield from (ear.summary() for ear in self._ears)
        for name, station in self._stations.items():
            yield f"{name}: {_accidents(station)}"

    # ---- steps -------------------------------------------------------------------------------------------------

    def _kitchen(self, directory: Path, sound: VirtualSound) -> Station:
        port, udp_port = free_ports(2)
        arguments = ["--identity", "kitchen", "--room-name", ROOM, "--url", "embedded"]
        for key, value in (("port", port), ("rtc_udp_port", udp_port)):
            arguments += ["--set", f"livekit.embedded.{key}={value}"]
        arguments += ["--set", f"metrics.interval_s={METRICS_S}"]
        arguments += ["--set", f"metrics.listen={self._listen['kitchen']}"] if self._listen else []
        self._url = f"ws://127.0.0.1:{port}"
        env: dict[str, str] = {}
        if self._card is None:
            devices = sound.station("kitchen")
            arguments += ["--input-device", devices.mic_pcm, "--output-device", devices.speaker_pcm]
            env = sound.env
        else:
            self._view.say(f"kitchen uses this machine's sound card: {self._card}")
        return Station(directory, ROOT / "alto.yaml", arguments=arguments, env=env, on_line=self._hear("kitchen"))

    def _porch(self, directory: Path, sound: VirtualSound, made_by_kitchen: Path) -> Station:
        devices = sound.station("porch")
        keys = {f"{name}_file": str(made_by_kitchen / name) for name in ("api_key", "api_secret")}
        config: dict[str, Any] = {
            "identity": "porch",
            "room": ROOM,
            "livekit": {"url": self._url, **keys},
            "audio": {"input": {"device": devices.mic_pcm}, "output": {"device": devices.speaker_pcm}},
            "metrics": {"interval_s": METRICS_S, "listen": self._listen.get("porch")},
        }
        return Station(directory, config, env=sound.env, on_line=self._hear("porch"))

    def _hear(self, name: str) -> Any:
        return lambda line: self._view.line(name, line)

    def _measure(self) -> None:
        if self._tape is not None:
            self._tape.forget(min([ear.update() for ear in self._ears] or [self._tape.frames]))

    def _hears(self, listener: str) -> bool:
        if self._card is None:
            return any(ear.heard for ear in self._ears if ear.listener == listener)
        (other,) = VOICE_HZ.keys() - {listener}
        return bool(self._stations[listener].events("stream.started", identity=other))


class _Interrupts:
    """Turns the first signal into an exception in the main thread, and later ones into nothing."""

    def __init__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._raise)

    def ignore(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        self.ignore()
        raise Interrupted


def _accidents(station: Station) -> str:
    """The dropouts of a station after its first seconds, from its metrics lines."""
    lines = station.events("metrics")
    if len(lines) < 2:
        return "too short a call for its metrics"
    first, last = lines[0], lines[-1]
    words = []
    for section, name in (("output", "underruns"), ("output", "xruns"), ("input", "overruns"), ("mixer", "underruns")):
        with contextlib.suppress(KeyError, TypeError):
            words.append(f"{last[section][name] - first[section][name]} {section} {name}")
    return f"{', '.join(words) or 'nothing known'} after the first {METRICS_S} s"


if __name__ == "__main__":
    sys.exit(main())
