"""The machine that holds the room dies: both stations are in the call again on the other one, by themselves."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import pytest

from tests.faults.cluster import Cluster
from tests.faults.failover import Pair
from tests.harness.sound import VirtualSound

TIMES = 2
SILENT_S = 12.0
"""Measured: 5 to 7 s, of which 5 s are LiveKit's own: so long a node counts as alive after its last sign of life."""


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.device
def test_both_stations_talk_on_through_the_node_that_is_left(tmp_path: Path, sound: VirtualSound) -> None:
    with Cluster() as cluster, Pair(tmp_path, sound, cluster) as pair:
        before = cluster.holder()
        silences_s = [pair.lose_the_holder() for _ in range(TIMES)]
        assert cluster.holder() is before, "there and back"
        print(f"silent for {statistics.median(silences_s):.1f} s, load {os.getloadavg()[0]:.0f}")
        assert max(silences_s) < SILENT_S, f"{silences_s}\n{pair.story()}"
        for station in pair.stations:
            assert len(station.events("room.disconnected")) == len(station.events("room.connected")) - 1 == TIMES
