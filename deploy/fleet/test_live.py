"""Two stations in a call, asked by a real Prometheus: every query of the dashboard has an answer, every rule works."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from live import Prometheus, running

from tests.harness.ports import free_ports
from tests.harness.wait import until

HERE: Final = Path(__file__).parent
STATIONS: Final = ("kitchen", "porch")
CALL_S: Final = 120  # longer than the tests take
UP_S: Final = 60.0  # a cold start of two stations and a server
DASHBOARD: Final[dict[str, Any]] = json.loads((HERE / "dashboard.json").read_text())
MAPPED: Final[dict[str, Any]] = next(
    panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    for panel in DASHBOARD["panels"]
    if panel["type"] == "state-timeline"
)
LOOKS_S: Final = 30.0  # some scrapes, a second apart


def neighbours() -> int:
    """The first of two free ports side by side."""
    for port in free_ports(20):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port + 1)):
            return port
    raise OSError("no two free ports side by side on 127.0.0.1")


@pytest.fixture(scope="module")
def stations() -> Iterator[list[str]]:
    """The addresses at which kitchen and porch, in a call, have their figures."""
    port = neighbours()
    words = ["-m", "tests.harness.call", "--virtual", "--plain", "--seconds", str(CALL_S), "--metrics", str(port)]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL) as call:
        try:
            yield [f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"]
        finally:
            call.terminate()


@pytest.fixture(scope="module")
def prometheus(stations: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    named = dict(zip(STATIONS, stations, strict=True))
    with running(tmp_path_factory.mktemp("prometheus"), named, every_s=1) as one:
        until(lambda: _both_talk(one), UP_S, "both stations are in the call, and Prometheus has seen it")
        yield one


def _both_talk(prometheus: Prometheus) -> bool:
    return len(prometheus.ask("irate(alto_network_frames_received_total[1m]) > 90")) == len(STATIONS)


def filled(expression: str) -> str:
    return expression.replace("$room", ".*").replace("$station", STATIONS[0])


def queries(good_when_empty: bool) -> list[Any]:
    """Of the panels; `noValue` is what a panel says when it is empty, and marks those for which that is good."""
    return [
        pytest.param(filled(target["expr"]), id=f"{panel['title']}-{target['refId']}")
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
        if ("noValue" in panel["fieldConfig"]["defaults"]) is good_when_empty
    ]


@pytest.mark.parametrize("query", queries(good_when_empty=False))
def test_each_panel_of_the_dashboard_shows_something(prometheus: Prometheus, query: str) -> None:
    assert until(lambda: prometheus.ask(query), LOOKS_S, f"{query} gives something")


@pytest.mark.parametrize("query", queries(good_when_empty=True))
def test_a_good_call_leaves_those_panels_empty_that_show_what_is_wrong(prometheus: Prometheus, query: str) -> None:
    assert prometheus.ask(query) == []


def test_each_rule_can_be_evaluated_and_a_good_call_is_no_alert(prometheus: Prometheus) -> None:
    def evaluated() -> list[dict[str, Any]] | None:
        rules = prometheus.rules()
        return rules if all(rule["health"] != "unknown" for rule in rules) else None

    rules = until(evaluated, LOOKS_S, "every rule was evaluated")
    assert {rule["name"]: (rule["health"], rule["state"]) for rule in rules} == {
        rule["name"]: ("ok", "inactive") for rule in rules
    }


def test_promtool_finds_nothing_to_blame_in_what_a_station_says(prometheus: Prometheus, stations: list[str]) -> None:
    for address in stations:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            page = answer.read()
        done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert page.count(b"\n# TYPE ") > 70


def test_the_dashboard_calls_each_station_by_its_state_and_one_that_is_gone_as_well(prometheus: Prometheus) -> None:
    (table,) = (panel for panel in DASHBOARD["panels"] if panel["title"].startswith("Every station"))
    state = filled(table["targets"][0]["expr"])
    words = {value: word["text"] for value, word in MAPPED.items()}

    def told() -> dict[str, str]:
        return {one["metric"]["station"]: words[one["value"][1]] for one in prometheus.ask(state)}

    assert told() == dict.fromkeys(STATIONS, "online")
    # A third one, that nobody plugged in. Nothing is taken back: this is the last that is asked of this Prometheus.
    gone = {**prometheus.watched, "cellar": f"127.0.0.1:{free_ports(1)[0]}"}
    prometheus.watch(gone)
    until(lambda: told() == {**dict.fromkeys(STATIONS, "online"), "cellar": "no answer"}, LOOKS_S, "cellar is shown")
