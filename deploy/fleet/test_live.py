"""Two stations in a call, asked by a real Prometheus: every query of the dashboard has an answer, every rule works."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.harness.ports import free_port, free_ports
from tests.harness.wait import until

HERE: Final = Path(__file__).parent
STATIONS: Final = ("kitchen", "porch")
CALL_S: Final = 120  # longer than the tests take
UP_S: Final = 60.0  # a cold start of two stations and a server
LOOKS_S: Final = 30.0  # some scrapes, a second apart


class Prometheus:
    """What it knows of the call."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now."""
        answer = self._get("query?" + urllib.parse.urlencode({"query": expression}))
        return list(answer["result"])

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self._base}/{path}", timeout=10) as answer:  # noqa: S310 (http, 127.0.0.1)
            data: dict[str, Any] = json.load(answer)["data"]
            return data


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
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    shutil.copy(HERE / "alerts.yml", folder)
    config = (HERE / "prometheus.yml").read_text().replace(": 15s", ": 1s")
    (folder / "prometheus.yml").write_text(config)
    labelled = zip(STATIONS, stations, strict=True)
    targets = [{"targets": [at], "labels": {"station": name, "room": "home"}} for name, at in labelled]
    (folder / "targets.json").write_text(json.dumps(targets))
    words = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{port}"]
    with subprocess.Popen(["prometheus", *words, "--log.level=warn"], cwd=folder) as process:
        try:
            one = Prometheus(port)
            until(lambda: _both_talk(one), UP_S, "both stations are in the call, and Prometheus has seen it")
            yield one
        finally:
            process.terminate()


def _both_talk(prometheus: Prometheus) -> bool:
    try:
        return len(prometheus.ask("irate(alto_network_frames_received_total[1m]) > 90")) == len(STATIONS)
    except OSError:  # it does not listen yet
        return False


def queries() -> list[Any]:
    panels = json.loads((HERE / "dashboard.json").read_text())["panels"]
    return [
        pytest.param(target["expr"], id=f"{panel['title']}-{target['refId']}")
        for panel in panels
        for target in panel.get("targets", [])
    ]


@pytest.mark.parametrize("query", queries())
def test_each_panel_of_the_dashboard_shows_something(prometheus: Prometheus, query: str) -> None:
    expression = query.replace("$room", ".*").replace("$station", STATIONS[0])
    assert until(lambda: prometheus.ask(expression), LOOKS_S, f"{expression} gives something")


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
