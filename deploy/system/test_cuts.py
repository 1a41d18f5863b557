"""The power goes in the middle of what writes: the configuration, and the program. The next boot is always a good one.

Without systemd, whose boot is half of the time of such a test and writes nothing of ours; `test_boots.py` has it.
"""

from __future__ import annotations

import functools
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from conftest import FIGURES, LANES, STATION, package, side_by_side
from machine import Machine

CUTS: Final = int(os.environ.get("ALTO_SYSTEM_CUTS", "50"))
SEED: Final = 20261124

PYTHON: Final = "/opt/alto/current/bin/python -I"

WRITER: Final = """
mkdir -p /run/alto-card
cd /boot/firmware
seq 1 100000 | while read -r n; do
    room=$(head -c $((n % 100 + 1)) /dev/zero | tr '\\0' x)
    mount -o remount,rw /boot/firmware
    sed "s/interval_s: .*/interval_s: $((n % 3000 + 1))}/;s/^room: .*/room: $room/" /etc/alto-test/alto.yaml > fresh
    sync -f fresh && mv fresh alto.yaml
    echo "$n" > /host/progress
    /opt/alto/current/bin/python -I -m appliance.card take || exit 1
done
"""
"""Somebody saves one good file after the other, and each is taken."""

VALID: Final = f"""
set -e
mkdir -p /run/alto-card
{PYTHON} -m appliance.card take
cd /var/lib/alto
test "$(stat -c %a alto.yaml)" = 600
{PYTHON} -m appliance check -c /var/lib/alto/alto.yaml
"""


def test_power_cuts_while_the_configuration_is_written(stations: list[Machine]) -> None:
    assert sum(side_by_side(_cut_while_saving, stations)) > CUTS / 2, "the cuts have to fall into the writing"


def _cut_while_saving(lane: int, station: Machine) -> int:
    """A lane's part of the cuts; how many files were saved meanwhile."""
    chance = random.Random(SEED + lane)
    secret = "  api_secret: hush-hush-0123456789-abcdefghijklmnop\n"  # noqa: S105 (made up)
    text = STATION.replace("livekit: {url: embedded}\n", f"livekit:\n  url: embedded\n{secret}")
    station.switch_on(quick=True)
    station.run(f"cat > /etc/alto-test/alto.yaml <<'X'\n{text}X\nsync")
    began, steps = time.monotonic(), 0
    writer = station.begin(WRITER)
    while _progress(station, keep=True) < 4:
        assert time.monotonic() - began < 120, station.end(writer, 1)
        time.sleep(0.05)
    span_s = time.monotonic() - began
    for number in range(CUTS // LANES):
        if number:
            station.begin(WRITER)
        time.sleep(chance.uniform(0.02, 1.0) * span_s)
        steps += _progress(station)
        station.cut_power()
        station.switch_on(quick=True)
        station.run(VALID, 120)
    return steps


def _progress(machine: Machine, *, keep: bool = False) -> int:
    """How many files were saved since it was asked before."""
    file = machine.share / "progress"
    text = file.read_text().strip() if file.exists() else ""
    if not keep:
        file.unlink(missing_ok=True)
    return int(text or 0)


LIGHTER: Final = """
find . -type f -size +2M -delete
find . -type f ! -name '*.pyc' ! -name SUMS -print0 | sort -z | xargs -0 sha256sum > SUMS
"""
"""Without the large libraries: all that is written and flushed at each of these installations is small files, which
are the ones that a power cut empties. What is there, and with which content, is written down."""

WORKS: Final = f"""
set -e
cd /opt/alto/current
sha256sum --quiet --check SUMS
{PYTHON} -c 'import appliance.clock, structlog'
test "$(cat VERSION)" = "$(readlink /opt/alto/current)"
"""

UPDATE: Final = "dpkg --configure -a --force-confold; dpkg -i /host/{deb} && echo done > /host/progress-update"


def test_power_cuts_while_a_version_is_installed(stations: list[Machine], another: Callable[..., Path]) -> None:
    debs = [another(version, LIGHTER) for version in ("0.1.6", "0.1.7")]
    told = side_by_side(functools.partial(_cut_while_installing, debs), stations)
    assert sum(finished for finished, _ in told) < CUTS / 2, "the cuts have to fall into the installation"
    states = {state for _, states in told for state in states}
    assert len(states) > 1, f"the package manager was never interrupted: {states}"


def _cut_while_installing(debs: list[Path], lane: int, station: Machine) -> tuple[int, set[str]]:
    """A lane's part of the cuts; how many came too late, and the package's states that were found afterwards."""
    chance = random.Random(SEED + lane)
    for deb in debs:
        (station.share / deb.name).write_bytes(deb.read_bytes())
    station.switch_on(quick=True)
    began = time.monotonic()
    station.run(UPDATE.format(deb=debs[0].name), 600)
    whole_s = time.monotonic() - began
    FIGURES.append(f"installing a version takes {whole_s:.1f} s without systemd")
    finished, seen = 0, set()
    for number in range(CUTS // LANES):
        done = station.share / "progress-update"
        done.unlink(missing_ok=True)
        station.begin(UPDATE.format(deb=debs[(number + 1) % 2].name))
        time.sleep(chance.uniform(0.02, 1.1) * whole_s)
        finished += done.exists()
        station.cut_power()
        station.switch_on(quick=True)
        station.run(WORKS, 180)
        seen.add(station.run("dpkg-query -Wf '${db:Status-Status}' alto"))
    station.run(UPDATE.format(deb=debs[0].name), 600)
    station.run(WORKS, 180)
    return finished, seen


def test_the_first_package_is_the_one_that_is_built() -> None:
    assert package().exists(), "deploy/dev system-test builds it"
