"""Machines for the system test: made by `deploy/dev system-test`, which says where kernel, root and package are."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import pytest
from asked import until_online
from machine import Machine

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ROOT / ".cache/system"
FIRST: Final = "0.1.0"

STATION: Final = """\
identity: kitchen
room: home
livekit: {url: embedded}
audio:
  input: {device: "plughw:CARD=Loopback,DEV=1"}
  output: {device: "plughw:CARD=Loopback_1"}
metrics: {interval_s: 5}
"""

MakeMachine = Callable[[str], Machine]

Result = TypeVar("Result")

LANES: Final = 2
"""Machines that do the same side by side: one that boots again and again is one processor busy, and hosts have two."""


FIGURES: Final[list[str]] = []
"""What was measured; printed at the end of the run."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("measured")
        for line in FIGURES:
            terminalreporter.write_line(line)


def package(version: str = FIRST) -> Path:
    return PACKAGES / f"alto_{version}_amd64.deb"


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeMachine]:
    """Makes machines with nothing of alto on them."""
    made: list[Machine] = []

    def make(name: str) -> Machine:
        folder = tmp_path_factory.mktemp(name)
        kernel, root = Path(os.environ["ALTO_GUEST_KERNEL"]), Path(os.environ["ALTO_SYSTEM_ROOT"])
        made.append(Machine(folder, kernel=kernel, root=root))
        return made[-1]

    yield make
    for machine in made:
        machine.cut_power()
        shutil.rmtree(machine.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def installed(fresh: MakeMachine) -> Machine:
    """A machine, switched off, on which the package was installed as a person does it."""
    machine = fresh("installed")
    machine.switch_on()
    shutil.copy(package(), machine.share)
    machine.run(f"DEBIAN_FRONTEND=noninteractive apt-get install -y /host/{package().name}", 600)
    (machine.share / package().name).unlink()
    machine.run("journalctl --flush; sync")
    machine.switch_off()
    return machine


@pytest.fixture(scope="session")
def configured(installed: Machine, fresh: MakeMachine) -> Callable[[str], Machine]:
    """Makes copies of it, switched off, with a card from which a station of one is configured."""

    def make(name: str) -> Machine:
        machine = fresh(name)
        machine.take_disk_of(installed)
        machine.put_on_card("alto.yaml", STATION.encode())
        return machine

    return make


@pytest.fixture
def station(configured: MakeMachine, request: pytest.FixtureRequest) -> Iterator[Machine]:
    machine = configured(request.node.name[:40])
    yield machine
    machine.cut_power()


@pytest.fixture
def stations(configured: MakeMachine, request: pytest.FixtureRequest) -> Iterator[list[Machine]]:
    """One for each lane."""
    machines = [configured(f"{request.node.name[:40]}-{lane}") for lane in range(LANES)]
    yield machines
    for machine in machines:
        machine.cut_power()


def side_by_side(work: Callable[[int, Machine], Result], machines: list[Machine]) -> list[Result]:
    """`work` with each machine and its lane's number, all at once; what each gave. Raises what one of them raised."""
    with ThreadPoolExecutor(len(machines)) as threads:
        return list(threads.map(work, range(len(machines)), machines))


@pytest.fixture(scope="module")
def running(configured: MakeMachine) -> Iterator[Machine]:
    """One station that is online, for all tests of a file that leave it so. Two at once would be slow."""
    machine = configured("station")
    machine.switch_on()
    until_online(machine)
    yield machine
    machine.switch_off()


@pytest.fixture(scope="session")
def another() -> Callable[..., Path]:
    """Makes another version of the package: its files changed by a shell script that runs in the tree of alto."""

    def make(version: str, change: str = "true") -> Path:
        target = package(version)
        if target.exists() and target.stat().st_mtime > package().stat().st_mtime:
            return target  # another test of this run made it: the package itself is built anew for each run
        folder = PACKAGES / f"unpacked-{version}"
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["dpkg-deb", "-R", package(), folder], check=True)
        for name in ("control", "postinst"):
            file = folder / "DEBIAN" / name
            file.write_text(file.read_text().replace(FIRST, version))
        tree = folder / "usr/lib/alto/tree"
        (tree / "VERSION").write_text(f"{version}\n")
        subprocess.run(["sh", "-ec", change], cwd=tree, check=True)
        # Not compressed: it is unpacked dozens of times.
        subprocess.run(
            ["dpkg-deb", "-b", "--root-owner-group", "-Znone", folder, target], check=True, capture_output=True
        )
        shutil.rmtree(folder)
        return target

    return make
