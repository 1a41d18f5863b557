"""How long a call is silent when the machine that holds its room dies and another one takes over.

`python -m tests.faults.failover --times 9` prints each time and the median.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.faults.cluster import ROOM, Cluster
from tests.faults.judge import Judge, Way
from tests.harness.signals import VOICES_HZ, tone
from tests.harness.sound import VirtualSound
from tests.harness.station import Station, station_settings
from tests.harness.wait import until

NAMES: Final = ("kitchen", "porch")
JOIN_S: Final = 30.0
BACK_S: Final = 40.0
CALM_S: Final = 1.0


class Pair:
    """Two stations in a call on a cluster, each saying a tone that the other should hear."""

    def __init__(self, directory: Path, sound: VirtualSound, cluster: Cluster) -> None:
        self.stations: Final[list[Station]] = []
        self._directory = directory
        self._sound = sound
        self._cluster = cluster
        self._stack: Final = contextlib.ExitStack()

    def __enter__(self) -> Self:
        ways = [Way(*names, hz) for names, hz in zip((NAMES, NAMES[::-1]), VOICES_HZ, strict=False)]
        self._judge = Judge(self._stack.enter_context(self._sound.tape()), ways)
        for name, hz in zip(NAMES, VOICES_HZ, strict=False):
            self._stack.callback(self._sound.play(name, tone(hz), loop=True).stop)
            self.stations.append(self._stack.enter_context(self._station(name)))
        for station in self.stations:
            station.wait_event("room.connected", JOIN_S)
        self._steady_since(time.monotonic())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    def lose_the_holder(self) -> float:
        """Kill the node that has the room; seconds of silence until both hear each other for good. The dead node is
        back afterwards, empty."""
        holder = self._cluster.holder()
        holder.kill()
        killed_s = time.monotonic()
        silent_s = self._steady_since(killed_s) - killed_s
        holder.start()
        return silent_s

    def story(self) -> str:
        """What the stations said."""
        return "\n".join(station.story() for station in self.stations)

    def _station(self, name: str) -> Station:
        node = self._cluster.nodes[0]
        config = station_settings(
            name, server=node, room=ROOM, sound=self._sound.station(name), livekit={"url": self._cluster.url}
        )
        return Station(self._directory / name, config, coverage=False)

    def _steady_since(self, from_s: float) -> float:
        def look() -> float | None:
            self._judge.look()
            back_s = self._judge.steady_since(from_s)
            return back_s if self._judge.judged_s > back_s + CALM_S else None

        back_s = until(look, BACK_S, lambda: f"both to hear each other\n{self.story()}")
        assert back_s is not None
        return back_s


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--times", type=int, default=9)
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        sound = stack.enter_context(VirtualSound(NAMES))
        os.environ.update(sound.env)
        cluster = stack.enter_context(Cluster())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pair = stack.enter_context(Pair(directory, sound, cluster))
        silences_s = []
        for _ in range(args.times):
            silences_s.append(pair.lose_the_holder())
            print(f"silent for {silences_s[-1]:.2f} s", flush=True)
    print(f"median {statistics.median(silences_s):.2f} s, longest {max(silences_s):.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
