"""alto-release: a new version proves itself or goes, and a power cut at any moment leaves a whole version."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

SOURCE: Final = Path(__file__).resolve().parents[2] / "deploy/package/release.py"


def _loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("alto_release", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


release: Final = _loaded()

ONLINE: Final = {"state": "online", "reason": "", "pid": 20, "legs": {"input": {"state": "ok"}}}
OFFLINE: Final = {"state": "waiting", "reason": "unreachable", "pid": 20, "legs": {"input": {"state": "ok"}}}


class FakeStation:
    """`Service` whose answers are a function of the seconds since it was made."""

    def __init__(self, clock: FakeClock, answer: Callable[[float], dict[str, Any] | None]) -> None:
        self._clock = clock
        self._answer = answer
        self.restarted = 0
        self.crashes_per_s = 0.0
        self.stopped_until_s = 0.0

    def status(self) -> dict[str, Any] | None:
        return self._answer(self._clock.monotonic())

    def wanted(self) -> bool:
        return self._clock.monotonic() >= self.stopped_until_s

    def restarts(self) -> int:
        return int(self._clock.monotonic() * self.crashes_per_s)

    def restart(self) -> None:
        self.restarted += 1


class FakeClock:
    """`time`, where sleeping takes no time."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def monotonic(self) -> float:
        return self._now_s

    def sleep(self, seconds: float) -> None:
        self._now_s += seconds


class Machine:
    """A package's tree and the folder of versions, on a disk that may lose its power."""

    def __init__(self, root: Path) -> None:
        self.tree = root / "tree"
        self.releases = release.Releases(root / "opt", self.tree, prepare=lambda folder: None)

    def unpack(self, version: str) -> None:
        """What dpkg does: new files moved over the old ones."""
        (self.tree / "lib").mkdir(parents=True, exist_ok=True)
        for name in ("lib/one.py", "lib/two.py"):
            fresh = self.tree / f"{name}.dpkg-new"
            fresh.write_text(version)
            fresh.rename(self.tree / name)

    def install(self, version: str, before: dict[str, Any] | None = None) -> None:
        self.unpack(version)
        self.releases.add(version)
        self.releases.begin(version, release.brief(before), tried=True)

    def runs(self) -> str:
        """The version that the files behind `current` are of, all of them."""
        found = {path.read_text() for path in (self.releases.folder / "current" / "lib").iterdir()}
        assert len(found) == 1, found
        assert (self.releases.folder / "current/lib/two.py").exists()
        return found.pop()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.install("0.1.0")
    return made


def judged(machine: Machine, station: FakeStation, clock: FakeClock, boot: str = "boot-1") -> str:
    return str(release.watch(machine.releases, station, boot, clock))


def test_the_first_version_runs_without_a_trial(machine: Machine) -> None:
    assert machine.runs() == "0.1.0"
    assert machine.releases.trial() is None


def test_a_version_that_joins_its_room_is_kept_and_the_one_before_stays(machine: Machine) -> None:
    machine.install("0.2.0", {**ONLINE, "pid": 10})
    clock = FakeClock()
    assert judged(machine, FakeStation(clock, lambda s: ONLINE if s > 30 else OFFLINE), clock) == "kept"
    assert (machine.runs(), machine.releases.previous()) == ("0.2.0", "0.1.0")
    assert clock.monotonic() < 60


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda s: None, "did not answer"),
        (lambda s: OFFLINE, "it was waiting (unreachable)"),
        (lambda s: {**ONLINE, "state": "degraded", "reason": "input_device_missing"}, "it was degraded"),
        (lambda s: ONLINE if int(s) % 15 else None, ""),
    ],
    ids=["silent", "not in its room", "without its microphone", "in and out"],
)
def test_a_version_that_is_worse_is_rolled_back_within_minutes(machine: Machine, answer: Any, why: str) -> None:
    machine.install("0.2.0", {**ONLINE, "pid": 10})
    clock = FakeClock()
    # Looks are two seconds apart: "in and out" answers None at some of them only, and is never steady.
    station = FakeStation(clock, lambda s: None if why == "" and int(s) % 10 == 0 else answer(s))
    assert judged(machine, station, clock) == "back"
    assert machine.runs() == "0.1.0"
    assert station.restarted == 1
    assert clock.monotonic() <= release.TRIAL_S + release.LOOK_S
    refused = machine.releases.refused()
    assert refused["version"] == "0.2.0"
    assert why in refused["reason"]


def test_a_version_that_crashes_again_and_again_is_rolled_back_at_once(machine: Machine) -> None:
    machine.install("0.2.0", {**ONLINE, "pid": 10})
    clock = FakeClock()
    station = FakeStation(clock, lambda s: None)
    station.crashes_per_s = 0.5
    assert judged(machine, station, clock) == "back"
    assert clock.monotonic() < 20


def test_a_server_that_was_away_before_the_update_is_not_the_updates_fault(machine: Machine) -> None:
    machine.install("0.2.0", {**OFFLINE, "pid": 10})
    clock = FakeClock()
    assert judged(machine, FakeStation(clock, lambda s: OFFLINE), clock) == "kept"


def test_the_old_process_that_still_answers_proves_nothing(machine: Machine) -> None:
    machine.install("0.2.0", ONLINE)
    clock = FakeClock()
    assert judged(machine, FakeStation(clock, lambda s: ONLINE), clock) == "back"


def test_a_station_that_somebody_stopped_is_judged_when_it_runs_again(machine: Machine) -> None:
    machine.install("0.2.0", {**ONLINE, "pid": 10})
    clock = FakeClock()
    station = FakeStation(clock, lambda s: ONLINE if s > 5000 else None)
    station.stopped_until_s = 4990
    assert judged(machine, station, clock) == "kept"


def test_a_version_that_takes_the_machine_down_again_and_again_is_rolled_back(machine: Machine) -> None:
    machine.install("0.2.0", {**ONLINE, "pid": 10})

    class PowerGone(Exception):
        pass

    def cut(seconds: float) -> None:
        raise PowerGone

    for boot in range(release.MOST_BOOTS):
        clock = FakeClock()
        with pytest.raises(PowerGone):
            judged(machine, FakeStation(clock, cut), clock, f"boot-{boot}")
    clock = FakeClock()
    station = FakeStation(clock, lambda s: ONLINE)
    assert judged(machine, station, clock, "boot-last") == "back"
    assert machine.runs() == "0.1.0"


def test_an_update_during_a_trial_goes_back_to_the_last_proven_version(machine: Machine) -> None:
    machine.install("0.2.0", {**ONLINE, "pid": 10})
    machine.install("0.3.0", {**OFFLINE, "pid": 11})
    assert machine.releases.trial().back_to == "0.1.0"
    clock = FakeClock()
    assert judged(machine, FakeStation(clock, lambda s: OFFLINE), clock) == "back"
    assert machine.runs() == "0.1.0"


def test_a_downgrade_is_tried_like_an_upgrade(machine: Machine) -> None:
    machine.install("0.0.9", {**ONLINE, "pid": 10})
    assert (machine.runs(), machine.releases.trial().back_to) == ("0.0.9", "0.1.0")


def test_old_versions_go_once_a_new_one_is_proven(machine: Machine) -> None:
    for number in range(2, 6):
        machine.install(f"0.{number}.0", {**ONLINE, "pid": 10})
        clock = FakeClock()
        assert judged(machine, FakeStation(clock, lambda s: ONLINE), clock) == "kept"
    assert machine.releases.versions() == ["0.4.0", "0.5.0"]


def test_the_same_version_again_mends_its_files(machine: Machine) -> None:
    broken = machine.releases.folder / "0.1.0/lib/one.py"
    broken.unlink()
    broken.write_text("damaged")
    machine.install("0.1.0", ONLINE)
    assert machine.runs() == "0.1.0"
    assert machine.releases.trial() is None


def test_a_link_that_leads_nowhere_is_mended(machine: Machine) -> None:
    (machine.releases.folder / "current").unlink()
    assert machine.releases.mend()
    assert machine.runs() == "0.1.0"
    assert not machine.releases.mend()


def test_without_a_version_before_there_is_no_way_back(machine: Machine) -> None:
    assert machine.releases.back("no good") is None
    assert machine.runs() == "0.1.0"


def test_an_installation_that_goes_on_is_not_taken_for_an_interrupted_one(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not release.package_manager_works(lock)
    lock.touch()
    assert not release.package_manager_works(lock)
    holds = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX)"
    holds += "; print('held', flush=True); input()"
    command = [sys.executable, "-S", "-c", holds, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert release.package_manager_works(lock)
        holder.communicate(b"\n")
    assert not release.package_manager_works(lock)


# ---- power cuts --------------------------------------------------------------------------------------------------


class PowerCut(BaseException):
    """Nothing after it happens; nothing catches it."""


class Power:
    """Counts what the process asks of the file system, and goes out at the chosen moment."""

    CHANGES: Final = ("os.rename", "os.link", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.utime")

    def __init__(self) -> None:
        self.left: int | None = None
        sys.addaudithook(self._happens)  # for ever: Python has no way to take a hook back, so it can be quiet

    def _happens(self, event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE != os.O_RDONLY
        if self.left is None or not (writes or event in self.CHANGES):
            return
        if self.left <= 0:
            raise PowerCut(event)
        self.left -= 1

    def lasts(self, changes: int, work: Callable[[], object]) -> bool:
        """Do `work` until that many changes were made; True when that was enough."""
        self.left = changes
        try:
            work()
        except PowerCut:
            return False
        finally:
            self.left = None
        return True


@pytest.fixture(scope="module")
def power() -> Power:
    return Power()


def cuts(power: Power, folder: Path, work: Callable[[Machine], object]) -> Iterator[Machine]:
    """The machine after each possible cut of `work`, from the first change to the last."""
    for changes in range(10_000):
        machine = Machine(folder / str(changes))
        machine.install("0.1.0")
        machine.install("0.2.0", {**ONLINE, "pid": 10})
        machine.releases.keep()
        done = power.lasts(changes, lambda machine=machine: work(machine))
        yield machine
        if done:
            assert changes > 5, "the cuts were not counted"
            return


@pytest.mark.slow
def test_a_power_cut_at_any_moment_of_an_update_leaves_a_whole_version_and_the_update_can_be_repeated(
    power: Power, tmp_path: Path
) -> None:
    for machine in cuts(power, tmp_path, lambda m: m.install("0.3.0", {**ONLINE, "pid": 11})):
        assert machine.runs() in ("0.2.0", "0.3.0")
        on_trial = machine.releases.trial()
        assert (on_trial is not None) == (machine.runs() == "0.3.0")
        machine.install("0.3.0", {**ONLINE, "pid": 11})
        assert machine.runs() == "0.3.0"
        assert machine.releases.trial().back_to == "0.2.0"


@pytest.mark.slow
@pytest.mark.parametrize("end", ["keep", "back"])
def test_a_power_cut_at_any_moment_of_the_verdict_leaves_a_whole_version(
    power: Power, tmp_path: Path, end: str
) -> None:
    def verdict(machine: Machine) -> None:
        machine.releases.keep() if end == "keep" else machine.releases.back("no good")

    def update_and_judge(machine: Machine) -> None:
        left, power.left = power.left, None  # this part is cut by the test above
        machine.install("0.3.0", {**ONLINE, "pid": 11})
        power.left = left
        verdict(machine)

    for machine in cuts(power, tmp_path, update_and_judge):
        assert machine.runs() in ("0.2.0", "0.3.0")
        assert set(machine.releases.versions()) >= {"0.2.0", "0.3.0"}


@pytest.mark.slow
def test_a_power_cut_while_a_version_is_mended_leaves_it_whole(power: Power, tmp_path: Path) -> None:
    for machine in cuts(power, tmp_path, lambda m: m.install("0.2.0", ONLINE)):
        assert machine.runs() == "0.2.0"


def test_a_trial_file_that_a_power_cut_emptied_is_no_trial(machine: Machine) -> None:
    for text in ("", "{", "[]", json.dumps({"version": "0.1.0"})):
        (machine.releases.folder / "trial.json").write_text(text)
        assert machine.releases.trial() is None
