"""Alert rules and dashboard: they speak of figures that there are, and each rule says what to do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import yaml

from appliance.observe.events import metrics
from appliance.observe.exposition import render, series
from appliance.supervisor import State
from tests.deploy.fleet import FLEET
from tests.observe.stations import ONLINE

EVERYTHING: Final[dict[str, Any]] = {**ONLINE, "clock_s": 1.0, "token_ends_at": 1.0, "watchdog_bit": False}
RULES: Final[list[dict[str, Any]]] = yaml.safe_load((FLEET / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD: Final[dict[str, Any]] = json.loads((FLEET / "dashboard.json").read_text())


def exported() -> set[str]:
    table = {how.name for metric in metrics().values() if (how := series(metric))}
    return table | set(re.findall(r"^# TYPE (\S+)", render(EVERYTHING, State).decode(), re.MULTILINE))  # type: ignore[arg-type]


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in RULES)
    yield from (target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", []))
    yield from (str(one.get("definition", "")) for one in DASHBOARD["templating"]["list"])


def test_rules_and_dashboard_ask_for_figures_that_are_exported() -> None:
    asked = {name for expression in expressions() for name in re.findall(r"\balto_\w+", expression)}
    assert len(asked) > 25
    assert not asked - exported()


def test_states_that_are_asked_for_exist() -> None:
    states = {state.value for state in State}
    asked = {
        word
        for text in expressions()
        for part in re.findall(r'alto_state\{[^}]*state=~?"([^"]*)"', text)
        for word in part.split("|")
    }
    assert asked
    assert asked <= states


def test_the_dashboard_has_a_word_and_a_place_for_every_state() -> None:
    (timeline, *_) = (panel for panel in DASHBOARD["panels"] if panel["type"] == "state-timeline")
    mapped = timeline["fieldConfig"]["defaults"]["mappings"][0]["options"]
    (expression,) = (target["expr"] for target in timeline["targets"])
    asked = dict(re.findall(r'state="(\w+)"\} \* (\d+)', expression))
    assert set(asked) == {state.value for state in State}
    assert {mapped[value]["text"] for value in asked.values()} == set(asked)
    assert mapped["0"]["text"] == "no answer"


def test_each_rule_says_what_is_wrong_with_whom_and_the_cure() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        says = rule["annotations"]
        assert set(says) == {"summary", "cure"}
        assert "$labels.station" in says["summary"] or rule["alert"] in ("AltoNobodyAsked", "AltoVersionMix")
        assert len(says["cure"]) > 40
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)


def test_the_dashboard_is_made_from_its_source() -> None:
    made = subprocess.run([sys.executable, FLEET / "dashboard.py"], capture_output=True, text=True, check=True).stdout
    assert (FLEET / "dashboard.json").read_text() == made, (
        "python deploy/fleet/dashboard.py > deploy/fleet/dashboard.json"
    )


def test_no_panel_covers_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_stations_update_from_the_archive_that_is_made_and_from_no_other() -> None:
    upgrades, archive = (FLEET / "unattended-upgrades.conf").read_text(), (FLEET / "apt-repo").read_text()
    (origins,) = re.findall(r"^Unattended-Upgrade::Origins-Pattern \{(.*)\};", upgrades, re.MULTILINE)
    (suite,) = re.findall(r"^SUITE=(\w+)", archive, re.MULTILINE)
    (origin,) = re.findall(r"Release::Origin=(\w+)", archive)
    assert origins.strip() == f'"origin={origin},codename={suite}";'
    assert upgrades.index("#clear Unattended-Upgrade::Origins-Pattern;") < upgrades.index("Origins-Pattern {")


def test_each_station_has_a_turn_of_its_own() -> None:
    drop_in = dict(
        line.split("=", 1) for line in (FLEET / "apt-daily-upgrade.conf").read_text().splitlines() if "=" in line
    )
    assert drop_in["FixedRandomDelay"] == "yes"
    done = subprocess.run(["systemd-analyze", "calendar", drop_in["OnCalendar"]], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        ["systemd-analyze", "timespan", drop_in["RandomizedDelaySec"]], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
