"""Boots, clean ones and ones after a power cut in a call, and how long it takes until the station is heard."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Final

from asked import until_online
from conftest import FIGURES, LANES, side_by_side
from machine import Machine

BOOTS: Final = int(os.environ.get("ALTO_SYSTEM_BOOTS", "30"))
REPORT: Final = Path(__file__).resolve().parents[2] / ".cache/system/boots.json"


def test_every_boot_ends_in_the_room(stations: list[Machine]) -> None:
    table = [row for rows in side_by_side(_boots, stations) for row in rows]
    REPORT.write_text(json.dumps(table, indent=1))
    for name in table[0]:
        times = sorted(row[name] for row in table if name in row)
        FIGURES.append(
            f"seconds from power-on, {len(times)} boots: {name} {times[len(times) // 2]} (at most {times[-1]})"
        )


def test_a_disk_that_cannot_be_written_does_not_keep_it_silent(station: Machine) -> None:
    station.switch_on()
    until_online(station)
    station.switch_off()
    station.switch_on(kernel_words=("systemd.mask=systemd-remount-fs.service",))
    assert "ro" in station.run("findmnt -no OPTIONS /").split(",")
    until_online(station)


def _boots(lane: int, station: Machine) -> list[dict[str, float]]:
    """A lane's part of the boots; the seconds of each one's steps."""
    chance = random.Random(30 + lane)
    table: list[dict[str, float]] = []
    for _ in range(BOOTS // LANES):
        hands_s = station.switch_on()
        until_online(station)
        table.append({"hands_s": round(hands_s, 1), **steps(station)})
        if chance.random() < 0.5:
            station.switch_off()
        else:
            time.sleep(chance.uniform(0.0, 2.0))
            station.cut_power()
    return table


def steps(machine: Machine) -> dict[str, float]:
    """Seconds after the kernel began: the service's start, its first line, the settings, the room, both devices."""
    start = machine.run("systemctl show --value -p ExecMainStartTimestampMonotonic alto").strip()
    found = {"process": int(start) / 1e6}
    for line in machine.run("journalctl -b -t alto -o json").splitlines():
        entry = json.loads(line)
        try:
            told = json.loads(entry["MESSAGE"])
        except ValueError:
            continue
        at_s = int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6
        name = told.get("event")
        if name == "state.changed" and told["to"] == "online":
            name = "online"
        if name in ("appliance.started", "audio.opened", "room.connected", "online"):
            found.setdefault(name, at_s)
    return {name: round(at_s, 2) for name, at_s in found.items()}
