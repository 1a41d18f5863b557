"""A real Prometheus that asks stations on this machine as prometheus.yml says; for a test and for a look."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.harness.ports import free_port
from tests.harness.wait import until

HERE: Final = Path(__file__).parent
ROOM: Final = "home"
READY_S: Final = 30.0  # it answers after half a second on an idle machine


class Prometheus:
    """What it knows of the stations."""

    def __init__(self, port: int, folder: Path) -> None:
        self.url: Final = f"http://127.0.0.1:{port}"
        self._folder: Final = folder
        self.watched: dict[str, str] = {}
        """Each station that is asked, and its address."""

    def watch(self, stations: Mapping[str, str]) -> None:
        """Ask these from now on: the address of each by its name."""
        self.watched = dict(stations)
        targets = [
            {"targets": [address], "labels": {"station": name, "room": ROOM}} for name, address in stations.items()
        ]
        fresh = self._folder / "targets.new"
        fresh.write_text(json.dumps(targets))
        fresh.replace(self._folder / "targets.json")

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now."""
        answer = self._get("query?" + urllib.parse.urlencode({"query": expression}))
        return list(answer["result"])

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def answers(self) -> bool:
        try:
            return self.ask("vector(1)") != []
        except OSError:  # it does not listen yet
            return False

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=10) as answer:  # noqa: S310 (http, 127.0.0.1)
            data: dict[str, Any] = json.load(answer)["data"]
            return data


@contextlib.contextmanager
def running(folder: Path, stations: Mapping[str, str], every_s: int = 15) -> Iterator[Prometheus]:
    """Prometheus with its files in `folder`, once it answers; `every_s` stands for the 15 s of prometheus.yml."""
    port = free_port()
    shutil.copy(HERE / "alerts.yml", folder)
    (folder / "prometheus.yml").write_text((HERE / "prometheus.yml").read_text().replace(": 15s", f": {every_s}s"))
    one = Prometheus(port, folder)
    one.watch(stations)
    words = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{port}"]
    with subprocess.Popen(["prometheus", *words, "--log.level=warn"], cwd=folder) as process:
        try:
            until(one.answers, READY_S, "Prometheus answers")
            yield one
        finally:
            process.terminate()
