"""What a station in a machine says of itself."""

from __future__ import annotations

import json
from typing import Final

from machine import Machine

STATE: Final = "/opt/alto/current/bin/python -I -m appliance status --socket /run/alto/kitchen.sock --json"


def until_online(machine: Machine, deadline_s: float = 180.0) -> dict[str, object]:
    """Wait until the station is in its room; what it says of itself."""
    return until_it_says(machine, '.state == "online"', deadline_s)


def until_it_says(machine: Machine, select: str, deadline_s: float = 60.0) -> dict[str, object]:
    """Wait until its status fits jq's `select`; the whole status."""
    told = json.loads(machine.until(f"{STATE} | jq -e 'select({select})'", deadline_s, f"the status to be: {select}"))
    assert isinstance(told, dict)
    return told


def show(machine: Machine, what: str, unit: str = "alto.service") -> str:
    return machine.run(f"systemctl show --value -p {what} {unit}").strip()


def journal(machine: Machine, select: str) -> list[dict[str, object]]:
    """The station's lines of this boot that fit jq's `select`."""
    text = machine.run(f"journalctl -b -t alto -o cat | jq -c 'select({select})'")
    return [json.loads(line) for line in text.splitlines()]
