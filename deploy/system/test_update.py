"""Updates of a station that runs: to a good version, to a bad one, and back to an old one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from asked import until_online
from conftest import STATION, package
from machine import Machine

LISTENER = STATION.replace('{device: "plughw:CARD=Loopback,DEV=1"}', "{enabled: false}")
"""A station that takes its precedence seriously leaves a machine as slow as this little for anything else."""

CRASHES = "echo 'raise SystemExit(1)' > lib/shared/appliance/app.py"


def install(machine: Machine, deb: Path) -> None:
    (machine.share / deb.name).write_bytes(deb.read_bytes())
    options = "-y --allow-downgrades"
    machine.run(f"DEBIAN_FRONTEND=noninteractive apt-get install {options} /host/{deb.name}", 600)
    (machine.share / deb.name).unlink()


def current(machine: Machine) -> str:
    return machine.run("readlink /opt/alto/current").strip()


def events(machine: Machine) -> list[str]:
    lines = machine.run("journalctl -b -t alto-release -o cat | jq -r .event")
    return lines.split()


def test_a_good_version_is_kept_a_bad_one_goes_by_itself_and_an_old_one_is_taken_on_request(
    station: Machine, another: Callable[..., Path]
) -> None:
    station.put_on_card("alto.yaml", LISTENER.encode())
    station.switch_on()
    before = until_online(station)
    settings = station.run("cat /var/lib/alto/alto.yaml; ls -l /var/lib/alto/embedded")

    install(station, another("0.2.0"))
    assert current(station) == "0.2.0"
    assert until_online(station)["pid"] != before["pid"]
    station.until("test ! -e /opt/alto/trial.json", 200, "the verdict on the good version")
    assert (current(station), events(station)) == ("0.2.0", ["release.kept"])

    install(station, another("0.3.0", CRASHES))
    station.until("test $(readlink /opt/alto/current) = 0.2.0", 200, "the bad version to go")
    until_online(station)
    refused = json.loads(station.run("cat /opt/alto/refused.json"))
    assert refused["version"] == "0.3.0"
    assert "again and again" in refused["reason"]
    assert events(station)[-1] == "release.rolled_back"

    install(station, package())
    until_online(station)
    station.until("test ! -e /opt/alto/trial.json", 200, "the verdict on the old version")
    assert current(station) == "0.1.0"
    assert station.run("cat /var/lib/alto/alto.yaml; ls -l /var/lib/alto/embedded") == settings
    station.run("alto-release use 0.2.0")
    station.until("test $(readlink /opt/alto/current) = 0.2.0", 30, "the version that was asked for")
    until_online(station)
    station.switch_off()
