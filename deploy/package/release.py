"""alto-release: which version of alto runs on this machine, and the way back from one that is no good.

The package's files lie in /usr/lib/alto/tree, where nothing runs. From there each version is linked (hard links: no
space, no copying) into a folder of its own below /opt/alto, and `current` points at the one that runs:

    /opt/alto/0.2.0/        a whole version; it appears by one rename, when all of it is on the disk
    /opt/alto/0.1.0/        the one before
    /opt/alto/current       link to the one that runs, replaced by one rename
    /opt/alto/previous      link to the one before
    /opt/alto/trial.json    there while the current one has not shown yet that it works
    /opt/alto/refused.json  the last one that was no good, and why

So at each moment, a power cut included, `current` names a whole version. Only the standard library, and of the system's
Python: this must work when the version that it judges does not.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

TRIAL_S: Final = 300.0  # a Zero 2 W is in its room within a minute; the rest is for a network that comes up late
STEADY_S: Final = 20.0  # in the room for so long: longer than the watchdog takes to end one that hangs
LOOK_S: Final = 2.0
MOST_BOOTS: Final = 4  # a version that takes the machine down each time must not get for ever
MOST_RESTARTS: Final = 5  # systemd starts a crashed station each second: this many are no accident
ANSWER_S: Final = 3.0

AT_FDCWD: Final = -100  # <fcntl.h>
RENAME_EXCHANGE: Final = 2  # <linux/fs.h>

Status = Mapping[str, Any]


class Service(Protocol):
    """The running station, as seen from outside."""

    def status(self) -> Status | None:
        """What it says of itself; None when it does not answer."""
        ...

    def wanted(self) -> bool:
        """Whether it runs or is to run: somebody who stopped it is not overruled."""
        ...

    def restarts(self) -> int:
        """How often systemd had to start it again by itself."""
        ...

    def restart(self) -> None:
        """Have it run the version that `current` names now. Does not wait."""
        ...


@dataclass
class Trial:
    """A version that has not shown yet that it works."""

    version: str
    back_to: str
    before: dict[str, Any] | None
    """What the station said of itself under the version before: state, legs, pid."""
    boots: list[str] = field(default_factory=list)
    """The boots (kernel's boot ids) in which it was tried."""


class Releases:
    """The versions below `folder`. Every change is one rename, with the disk flushed before it."""

    def __init__(self, folder: Path, tree: Path, prepare: Callable[[Path], None] | None = None) -> None:
        """`prepare` makes a fresh copy ready before it gets its name; default: compiled, and all on the disk."""
        self.folder = folder
        self._tree = tree
        self._prepare = prepare or made_ready

    # ---- what is there

    def versions(self) -> list[str]:
        """Whole versions, by name."""
        return sorted(path.name for path in self.folder.glob("[0-9]*") if path.is_dir() and not path.is_symlink())

    def current(self) -> str | None:
        """The one that runs; None when there is none, or the link leads nowhere."""
        return self._target("current")

    def previous(self) -> str | None:
        return self._target("previous")

    def trial(self) -> Trial | None:
        """The trial that goes on. One that was written and not begun (a power cut between the two) counts as none."""
        try:
            trial = Trial(**json.loads((self.folder / "trial.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return trial if trial.version == self.current() else None

    def refused(self) -> dict[str, Any] | None:
        try:
            told = json.loads((self.folder / "refused.json").read_text())
        except (OSError, ValueError):
            return None
        return told if isinstance(told, dict) else None

    def _target(self, link: str) -> str | None:
        try:
            name = os.readlink(self.folder / link)
        except OSError:
            return None
        return name if name in self.versions() else None

    # ---- changes

    def add(self, version: str) -> None:
        """Link the package's files into a folder of their own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        fresh = self.folder / f".{version}.new"
        try:
            shutil.copytree(self._tree, fresh, symlinks=True, copy_function=os.link)
        except OSError:  # /opt is another file system than /usr: shutil.Error is an OSError too
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(self._tree, fresh, symlinks=True)
        self._prepare(fresh)
        self._place(fresh, self.folder / version)

    def begin(self, version: str, before: dict[str, Any] | None, *, tried: bool) -> None:
        """Make it the current one; `tried`: on trial, if there is one to go back to."""
        old, unproven = self.current(), self.trial()
        proven, before = (unproven.back_to, unproven.before) if unproven is not None else (old, before)
        if old is not None and old != version:
            if tried and proven not in (None, version):
                self._write("trial.json", asdict(Trial(version, str(proven), before)))
            self._link("previous", old if proven == version else str(proven))
        self._link("current", version)

    def note_boot(self, trial: Trial, boot_id: str) -> None:
        if boot_id not in trial.boots:
            trial.boots.append(boot_id)
            self._write("trial.json", asdict(trial))

    def keep(self) -> None:
        """The current one is good: what is older than the one before it goes."""
        (self.folder / "trial.json").unlink(missing_ok=True)
        for version in set(self.versions()) - {self.current(), self.previous()}:
            self._discard(self.folder / version)

    def back(self, reason: str) -> str | None:
        """To the version before; which one that is, or None when there is none."""
        bad, trial = self.current(), self.trial()
        target = trial.back_to if trial is not None else self.previous()
        if target is None or target == bad or target not in self.versions():
            (self.folder / "trial.json").unlink(missing_ok=True)
            return None
        self._write("refused.json", {"version": bad, "reason": reason, "at": int(time.time())})
        self._link("current", target)
        (self.folder / "trial.json").unlink(missing_ok=True)
        if bad is not None:
            self._link("previous", bad)
        return target

    def mend(self) -> bool:
        """Point `current` at something when it leads nowhere. True when that was needed."""
        if self.current() is not None or not self.versions():
            return False
        self._link("current", self.previous() or self.versions()[-1])
        return True

    # ---- steps

    def _place(self, fresh: Path, place: Path) -> None:
        if place.exists():  # the same version again, perhaps because its files were damaged
            _exchange(fresh, place)
            self._discard(fresh)
        else:
            fresh.rename(place)
        _flush(self.folder)

    def _discard(self, folder: Path) -> None:
        """Out of sight by one rename before it is taken apart, so that no half of a version has a version's name."""
        gone = self.folder / f".{folder.name.strip('.')}.gone"
        shutil.rmtree(gone, ignore_errors=True)
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _sweep(self) -> None:
        for leftover in self.folder.glob(".*"):
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink()

    def _link(self, name: str, version: str) -> None:
        fresh = self.folder / f".{name}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(version)
        fresh.rename(self.folder / name)
        _flush(self.folder)

    def _write(self, name: str, content: object) -> None:
        fresh = self.folder / f".{name}"
        with fresh.open("w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(self.folder / name)
        _flush(self.folder)


def _exchange(one: Path, other: Path) -> None:
    """Swap two folders, so that neither name is ever missing."""
    rename = ctypes.CDLL(None, use_errno=True).renameat2
    if rename(AT_FDCWD, bytes(one), AT_FDCWD, bytes(other), RENAME_EXCHANGE) == 0:
        return
    aside = one.with_name(one.name + ".gone")  # a file system that cannot: `mend` covers the moment in between
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stamp(version: Path) -> Path:
    """Says that the version is compiled for the Python that the system has now."""
    return version / f".compiled-{sys.implementation.cache_tag}"


def precompile(version: Path) -> None:
    """The station cannot write there, and must not compile everything at each start. Nothing depends on it."""
    here = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
    words = ["-I", "-m", "compileall", "-q", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([sys.executable, *words, version / "lib/shared", version / here], check=False)
    stamp(version).touch()


def made_ready(version: Path) -> None:
    """Everything in it is compiled and on the disk."""
    precompile(version)
    os.sync()


# ---- judging -----------------------------------------------------------------------------------------------------


def healthy(before: Status | None, now: Status | None) -> bool:
    """In its room with the audio running, or at least as well as the version before was."""
    if now is None:
        return False
    if before is None:
        return True
    if now.get("pid") == before.get("pid"):
        return False  # still the old one, about to be ended
    if now.get("state") == "online":
        return True
    legs = now.get("legs") or {}
    lost = [leg for leg, state in (before.get("legs") or {}).items() if state == "ok" and legs.get(leg) != "ok"]
    return now.get("state") == before.get("state") and not lost


def brief(status: Status | None) -> dict[str, Any] | None:
    """What of a status is kept and compared."""
    if status is None:
        return None
    legs = {leg: (told or {}).get("state") for leg, told in (status.get("legs") or {}).items()}
    return {"state": status.get("state"), "reason": status.get("reason"), "pid": status.get("pid"), "legs": legs}


def watch(releases: Releases, service: Service, boot_id: str, clock: Any = time) -> str:
    """Follow the trial to its end: `kept`, `back`, or `nothing` when there is none."""
    trial = releases.trial()
    if trial is None:
        return "nothing"
    releases.note_boot(trial, boot_id)
    if len(trial.boots) > MOST_BOOTS:
        return _give_up(releases, service, f"not proven within {MOST_BOOTS} boots")
    before = trial.before
    if before is not None and trial.boots[0] != boot_id:
        before = {**before, "pid": None}  # process ids say nothing in another boot
    verdict = _verdict(before, service, clock)
    if verdict:
        return _give_up(releases, service, verdict)
    releases.keep()
    say("release.kept", version=trial.version)
    return "kept"


def _verdict(before: Status | None, service: Service, clock: Any) -> str:
    """Empty when the station is well; else why it is not. Takes up to `TRIAL_S`, more while somebody stopped it."""
    end, well_since, restarts = clock.monotonic() + TRIAL_S, None, service.restarts()
    now: Status | None = None
    while clock.monotonic() < end:
        now = brief(service.status())
        if now is None and not service.wanted():
            end = clock.monotonic() + TRIAL_S
        well_since = (well_since or clock.monotonic()) if healthy(before, now) else None
        if well_since is not None and clock.monotonic() - well_since >= STEADY_S:
            return ""
        if service.restarts() - restarts >= MOST_RESTARTS:
            return "it ended again and again"
        clock.sleep(LOOK_S)
    if now is None:
        return f"it did not answer within {TRIAL_S:g} s"
    return f"after {TRIAL_S:g} s it was {now['state']} ({now['reason']})"


def _give_up(releases: Releases, service: Service, reason: str) -> str:
    bad = releases.current()
    target = releases.back(reason)
    if target is None:
        say("release.no_way_back", level="error", version=bad, reason=reason)
        return "nothing"
    say("release.rolled_back", level="error", version=bad, back_to=target, reason=reason)
    service.restart()
    return "back"


# ---- the real station --------------------------------------------------------------------------------------------


class SystemdStation:
    """`Service` of this machine."""

    UNIT: Final = "alto.service"

    def __init__(self, runtime: Path = Path("/run/alto")) -> None:
        self._runtime = runtime

    def status(self) -> Status | None:
        for path in sorted(self._runtime.glob("*.sock")):
            try:
                return _ask(path)
            except (OSError, ValueError):
                continue
        return None

    def wanted(self) -> bool:
        return self._show("ActiveState") not in ("inactive", "")

    def restarts(self) -> int:
        told = self._show("NRestarts")
        return int(told) if told.isdigit() else 0

    def restart(self) -> None:
        _systemctl("--no-block", "restart", self.UNIT)

    def _show(self, what: str) -> str:
        return _systemctl("show", "--value", f"--property={what}", self.UNIT).strip()


def _ask(path: Path) -> Status:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(ANSWER_S)
        channel.connect(os.fspath(path))
        channel.sendall(b'{"command": "status"}\n')
        with channel.makefile("rb") as lines:
            told = json.loads(lines.readline())
    if not isinstance(told, dict) or "state" not in told:
        raise ValueError("not a status")
    return told


def _systemctl(*words: str) -> str:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout


def systemd_runs() -> bool:
    """False in a container or while an image is built."""
    return Path("/run/systemd/system").is_dir()


def package_manager_works(lock: Path = Path("/var/lib/dpkg/lock")) -> bool:
    """Whether it is at work now: this very program is also started by an installation that goes on."""
    try:
        with lock.open("r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def configure_rest() -> None:
    """What a power cut kept the package manager from finishing. In a unit of its own: it starts this one anew."""
    if package_manager_works():
        return
    done = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${db:Status-Status}", "alto"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.stdout in ("unpacked", "half-configured", "triggers-pending", "triggers-awaited"):
        say("release.finishing", level="warning", state=done.stdout)
        words = ["--collect", "--unit=alto-configure", "--setenv=DEBIAN_FRONTEND=noninteractive", "--no-block"]
        subprocess.run(["systemd-run", *words, "dpkg", "--configure", "--force-confold", "alto"], check=False)


# ---- the command -------------------------------------------------------------------------------------------------


def say(event: str, *, level: str = "info", **fields: object) -> None:
    """One line: for the journal as the station writes its own, else for a person."""
    if "JOURNAL_STREAM" in os.environ:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        priority = {"error": 3, "warning": 4}.get(level, 6)
        print(f"<{priority}>" + json.dumps({"timestamp": at, "level": level, "event": event, **fields}), flush=True)
    else:
        told = ", ".join(f"{name}: {value}" for name, value in fields.items())
        print(f"alto-release: {event.partition('.')[2].replace('_', ' ')} ({told})", flush=True)


def install(releases: Releases, service: Service, version: str, *, live: bool) -> None:
    """What the package does when it is configured."""
    before = brief(service.status()) if live else None
    wanted = live and service.wanted()
    releases.add(version)
    releases.begin(version, before, tried=wanted)
    say("release.installed", version=version, trial=releases.trial() is not None)


def finish(releases: Releases, service: Service) -> None:
    """What the machine does at each boot, and after each update."""
    if releases.mend():
        say("release.mended", level="error", version=releases.current())
        service.restart()
    current = releases.current()
    if current is not None and not stamp(releases.folder / current).exists():
        precompile(releases.folder / current)  # the system has a new Python
    configure_rest()
    watch(releases, service, Path("/proc/sys/kernel/random/boot_id").read_text().strip())


def show(releases: Releases) -> None:
    trial, refused = releases.trial(), releases.refused()
    for version in releases.versions():
        marks = [name for name in ("current", "previous") if version == releases._target(name)]
        marks += ["on trial"] if trial is not None and version == trial.version else []
        if refused is not None and refused.get("version") == version:
            marks.append(f"refused: {refused.get('reason')}")
        print(f"{version}  {', '.join(marks)}".rstrip())


def use(releases: Releases, service: Service, version: str) -> int:
    if version not in releases.versions():
        print(f"alto-release: no version {version}; there are: {', '.join(releases.versions())}", file=sys.stderr)
        return 69
    releases.begin(version, None, tried=False)
    releases.keep()
    service.restart()
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="alto-release", description="Which version of alto runs here.")
    parser.add_argument("--folder", type=Path, default=Path("/opt/alto"), help=argparse.SUPPRESS)
    parser.add_argument("--tree", type=Path, default=Path("/usr/lib/alto/tree"), help=argparse.SUPPRESS)
    words = parser.add_subparsers(dest="word", metavar="COMMAND", required=True)
    words.add_parser("list", help="the versions that are here, and which one runs")
    words.add_parser("back", help="go back to the version before")
    words.add_parser("use", help="run this version").add_argument("version")
    words.add_parser("finish", help="used at boot: end what an update began")
    words.add_parser("install", help="used by the package").add_argument("version")
    args = parser.parse_args(argv)
    releases, service = Releases(args.folder, args.tree), SystemdStation()
    match args.word:
        case "list":
            show(releases)
        case "install":
            install(releases, service, args.version, live=systemd_runs())
        case "finish":
            finish(releases, service)
        case "use":
            return use(releases, service, args.version)
        case "back":
            bad = releases.current()
            if (target := releases.back("somebody asked for it")) is None:
                print("alto-release: there is no version to go back to", file=sys.stderr)
                return 69
            say("release.rolled_back", version=bad, back_to=target, reason="somebody asked for it")
            service.restart()
    return 0


if __name__ == "__main__":
    sys.exit(main())
