"""`deploy/dev fleet-look`: pictures of the Grafana dashboard, to be looked at: of a call, and of what goes wrong.

Stations, server and Prometheus are real, and Prometheus asks as prometheus.yml says. The page is drawn by Grafana's own
components, not by Grafana's application: README.md says what that leaves open. Pictures are in .cache/fleet-look.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from live import Prometheus, running

from tests.harness.ports import free_ports
from tests.harness.server import LiveKitServer
from tests.harness.signals import VOICES_HZ, announcement
from tests.harness.sound import VirtualSound
from tests.harness.station import ROOT, Station, station_settings

LOOK: Final = ROOT / ".cache/fleet-look"
JOIN_S: Final = 60.0
SHOT_S: Final = 180.0
WELL: Final = ("kitchen", "porch")
NAMES: Final = (*WELL, "garden", "cellar")


def main() -> int:
    parser = argparse.ArgumentParser(prog="deploy/dev fleet-look", description="Pictures of the Grafana dashboard.")
    parser.add_argument("--minutes", type=float, default=3.0, help="how long the call is, and then each failure; 3")
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory(prefix="alto-look-") as folder, contextlib.ExitStack() as stack:
        return 0 if Stage(stack, Path(folder), minutes).play() else 1


class Stage:
    """A server, stations, their sound and Prometheus; `stack` takes them down again."""

    def __init__(self, stack: contextlib.ExitStack, folder: Path, minutes: float) -> None:
        self._stack: Final = stack
        self._folder: Final = folder
        self._minutes: Final = minutes
        self._since_s: Final = time.monotonic()
        self._sound: Final = stack.enter_context(VirtualSound(NAMES))
        self._server: Final = stack.enter_context(LiveKitServer())
        self._addresses: Final = dict(zip(NAMES, (f"127.0.0.1:{port}" for port in free_ports(len(NAMES))), strict=True))
        (folder / "prometheus").mkdir()
        watched = {name: self._addresses[name] for name in WELL}
        self._prometheus: Final[Prometheus] = stack.enter_context(running(folder / "prometheus", watched))

    def play(self) -> bool:
        """One act after the other; whether every panel could be drawn in each."""
        _, porch = (self._joins(name) for name in WELL)
        good = self._shows("call", "kitchen")
        porch.stop()
        self._starts("garden", audio={"input": {"device": "pulled_out"}})
        self._starts("cellar", livekit={"api_secret": "not the one that the server knows, at all"})
        self._prometheus.watch(self._addresses)
        good &= self._shows("trouble", "cellar")
        good &= self._shoots("trouble-porch", "porch")
        self._server.kill()
        return self._shows("no-server", "kitchen") and good

    def _joins(self, name: str) -> Station:
        station = self._starts(name)
        station.wait_event("room.connected", JOIN_S)
        self._stack.enter_context(self._sound.play(name, announcement(VOICES_HZ[WELL.index(name)]), loop=True))
        return station

    def _starts(self, name: str, **more: Any) -> Station:
        fixed = station_settings(name, server=self._server, sound=self._sound.station(name), **more)
        fixed["metrics"] = {"interval_s": 5, "listen": self._addresses[name]}
        return self._stack.enter_context(Station(self._folder / name, fixed, env=self._sound.env))

    def _shows(self, act: str, station: str) -> bool:
        time.sleep(self._minutes * 60)  # the time in which curves come about: nothing is waited for
        return self._shoots(act, station)

    def _shoots(self, act: str, station: str) -> bool:
        """Take the picture and say what was empty in it; whether every panel could be drawn."""
        picture, shown = LOOK / f"{act}.png", (time.monotonic() - self._since_s) / 60
        words = [self._prometheus.url, picture, f"{shown:.2f}", station]
        done = subprocess.run(
            ["node", Path(__file__).with_name("shoot.cjs"), *words],
            env={**os.environ, "NODE_PATH": str(LOOK / "node_modules"), "LOOK": str(LOOK)},
            stdout=subprocess.PIPE,
            timeout=SHOT_S,
            check=False,
        )
        panels = json.loads(done.stdout or b"[]")
        empty = [panel["title"] for panel in panels if panel.get("full") is False]
        print(f"{picture}: {len(panels)} panels, empty: {', '.join(empty) or 'none'}", flush=True)
        return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
