"""The systemd units: locked up as tightly as promised, spelled as systemd knows it, and naming what is shipped."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

UNITS: Final = Path(__file__).resolve().parents[2] / "deploy/systemd"

NEWER: Final = ("Failed to parse service type, ignoring: notify-reload", "Unknown key 'ImportCredential'")
"""What a systemd before 253 or 254 says of the unit, and lives with."""

EXPOSURE: Final = {"alto.service": 19, "alto-card.service": 25, "alto-card-status.service": 25}
"""Tenths of systemd's exposure level, 100 being wide open. The card's helpers are root, for the mount."""


def settings(unit: str) -> list[tuple[str, str]]:
    """Each `Key=value` of a unit, in order."""
    lines = (UNITS / unit).read_text().splitlines()
    return [(key, value) for key, equals, value in (line.partition("=") for line in lines) if equals and key[0] != "#"]


def values(unit: str, key: str) -> list[str]:
    return [value for name, value in settings(unit) if name == key]


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    assert shutil.which("systemd-analyze"), "deploy/dev setup installs it"
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("unit", EXPOSURE)
def test_the_exposure_level_is_below_what_is_promised(unit: str) -> None:
    done = analyze("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE[unit]}", UNITS / unit)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("unit", sorted(path.name for path in UNITS.glob("*.service")))
def test_systemd_knows_every_key(unit: str) -> None:
    said = analyze("security", "--offline=true", "--no-pager", UNITS / unit).stderr.splitlines()
    assert [line for line in said if not any(known in line for known in NEWER)] == []


def test_the_station_is_started_for_ever_and_watched() -> None:
    assert values("alto.service", "Restart") == ["always"]
    assert values("alto.service", "StartLimitIntervalSec") == ["0"]
    assert values("alto.service", "Type")[-1] == "notify-reload"
    assert int(values("alto.service", "WatchdogSec")[0]) <= 20


def test_the_audio_threads_may_be_real_time() -> None:
    assert int(values("alto.service", "LimitRTPRIO")[0]) > 0
    assert values("alto.service", "RestrictRealtime") == []
    filters = " ".join(values("alto.service", "SystemCallFilter"))
    assert "~@resources" not in filters
    assert "@system-service" in filters


def shipped_units() -> Iterator[str]:
    yield from (path.name for path in UNITS.iterdir() if path.suffix in (".service", ".path", ".timer"))


@pytest.mark.parametrize("unit", sorted(shipped_units()))
def test_every_unit_of_ours_that_a_unit_names_is_shipped(unit: str) -> None:
    named = set(re.findall(r"\balto[a-z-]*\.(?:service|path|timer)\b", (UNITS / unit).read_text()))
    assert named <= set(shipped_units())


def test_every_group_that_the_unit_names_is_made() -> None:
    made = re.findall(r"^g (\S+) ", (UNITS / "alto.sysusers").read_text(), re.MULTILINE)
    assert set(values("alto.service", "SupplementaryGroups")[0].split()) <= set(made)
