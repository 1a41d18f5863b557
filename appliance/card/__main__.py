"""`alto-card`: what is done with the card, and when. Started by the units of the package, as root."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import pwd
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from appliance.card.inbox import NAMES, Inbox, Outcome, Verdict
from appliance.card.mount import CardStuck, Mount, card_mount
from appliance.card.words import same_news, status_file
from appliance.observe import client
from appliance.observe.log import configure
from appliance.settings.files import write_whole

log = structlog.get_logger()

CARD: Final = Path("/boot/firmware")
STATE: Final = Path("/var/lib/alto")
STATION_SOCKETS: Final = Path("/run/alto")
OWN: Final = Path("/run/alto-card")
"""In memory: the last verdict, the lock, and whether it was alto who made the card read-only."""
KEEP_OPEN: Final = Path("/etc/alto/keep-card-writable")
"""Its presence leaves the card as the system mounted it."""
KEEP_SECRETS: Final = Path("/etc/alto/keep-secrets-on-card")
"""Its presence leaves the secrets in alto.yaml; its text says why."""
USER: Final = "alto"
STATUS_FILE: Final = "alto.status.txt"

SETTLE_S: Final = 45.0  # a Zero 2 W is in its room after some twenty seconds
LOOK_S: Final = 1.0
SETTLED: Final = ("online", "blocked")
"""States that do not pass by themselves; others get `SETTLE_S`."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is, and how long a station may take; the tests have others."""

    card: Path = CARD
    state: Path = STATE
    sockets: Path = STATION_SOCKETS
    own: Path = OWN
    keep_open: Path = KEEP_OPEN
    keep_secrets: Path = KEEP_SECRETS
    settle_s: float = SETTLE_S

    @property
    def closed(self) -> Path:
        """The package manager's hooks look for it."""
        return self.own / "closed"

    @property
    def verdict(self) -> Path:
        return self.own / "verdict.json"

    def mount(self) -> Mount:
        return card_mount(self.card, self.closed)

    def keep(self) -> str:
        """Why the secrets are to stay on the card; empty: they are not."""
        try:
            return self.keep_secrets.read_text(errors="replace").strip() or f"{self.keep_secrets} is there"
        except OSError:
            return ""


def main(argv: Sequence[str] | None = None, places: Places | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="alto-card", description="alto.yaml on the boot partition.")
    words = parser.add_subparsers(dest="word", metavar="COMMAND", required=True)
    words.add_parser("take", help="take a changed alto.yaml; done at each start and when it was saved")
    words.add_parser("status", help="write alto.status.txt if there is news")
    words.add_parser("edit", help="edit alto.yaml on the card with $EDITOR")
    args = parser.parse_args(argv)
    work = {"take": take, "status": tell, "edit": edit}[args.word]
    configure(level="info")
    try:
        return work(places or Places())
    except PermissionError as error:
        print(f"alto-card: {error}; it needs root: sudo alto-card {args.word}", file=sys.stderr)
        return 77


def take(places: Places) -> int:
    """Look at the card once."""
    if not places.card.is_dir():
        return 0  # a machine without a card: /etc/alto/alto.yaml is its file
    with _turn(places) as ours:
        if not ours:
            return 0  # somebody edits; who holds the card takes it afterwards
        _take(places)
    return 0


def _take(places: Places) -> None:
    before = _verdict(places)
    verdict = Inbox(places.card, places.state, places.mount(), _owner(), _credentials(), places.keep()).take()
    _remember(places, verdict)
    if verdict != before:
        _log(places, verdict)
    if verdict.outcome is Outcome.TAKEN and verdict.first:
        _systemctl("--no-block", "try-restart", "alto.service")
    if not places.keep_open.exists():
        try:
            places.mount().close()
        except CardStuck as error:
            log.warning("card.stuck", detail=str(error))


def _log(places: Places, verdict: Verdict) -> None:
    file = str(places.card / verdict.name)
    match verdict.outcome:
        case Outcome.TAKEN:
            log.info("card.taken", file=file, blanked=verdict.blanked, warnings=list(verdict.warnings))
        case Outcome.REJECTED:
            log.error("card.rejected", file=file, problems=list(verdict.problems))
    if verdict.stuck:
        log.warning("card.stuck", detail=verdict.stuck)


def tell(places: Places) -> int:
    """Wait until the station has settled, then write on the card how it is doing, if the card says otherwise."""
    if not places.card.is_dir():
        return 0
    status = _settled(places)
    with _turn(places) as ours:
        if ours:
            if _missed(places):
                _take(places)
            _write_status(places, status)
    return 0


def _write_status(places: Places, status: Mapping[str, Any] | None) -> None:
    verdict = _verdict(places) or Verdict(Outcome.ABSENT)
    path = places.card / STATUS_FILE
    written = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    fresh = status_file(verdict, status, written=written)
    with contextlib.suppress(OSError):
        if same_news(path.read_bytes(), fresh):
            return
    try:
        with places.mount().writable():
            write_whole(path, fresh)
    except (CardStuck, OSError) as error:
        log.warning("card.stuck", detail=str(error))


def edit(places: Places) -> int:
    """An editor on the card's file, and what comes of it."""
    name = next((name for name in NAMES if (places.card / name).exists()), NAMES[0])
    with _turn(places, wait=True):
        with places.mount().writable():
            code = _edited(places.card / name)
        _take(places)
    _systemctl("--no-block", "restart", "alto-card-status.service")  # the save was noticed while the card was ours
    verdict = _verdict(places)
    if verdict is not None and verdict.outcome is Outcome.REJECTED:
        print(*(f"{name}: {problem}" for problem in verdict.problems), sep="\n", file=sys.stderr)
        return 78
    return code


def _edited(path: Path) -> int:
    """The editor's exit code; $EDITOR may bring arguments along."""
    editor = shlex.split(os.environ.get("EDITOR", "")) or ["nano"]
    try:
        return subprocess.run([*editor, path], check=False).returncode
    except OSError as error:
        print(f"alto-card: {editor[0]}: {error.strerror}; name another one in EDITOR", file=sys.stderr)
        return 69


def _missed(places: Places) -> bool:
    """Whether the file changed without a look: systemd does not watch it while a look is going on."""
    verdict = _verdict(places)
    return verdict is None or verdict.digest != Inbox(places.card, places.state, places.mount()).digest()


# ---- pieces ------------------------------------------------------------------------------------------------------


def _settled(places: Places) -> Mapping[str, Any] | None:
    """What the station says once it does not change any more; None when it does not answer."""
    end = time.monotonic() + places.settle_s
    while True:
        status = _asked(places.sockets)
        if time.monotonic() >= end or (status is not None and status.get("state") in SETTLED):
            return status
        time.sleep(LOOK_S)


def _asked(sockets: Path) -> Mapping[str, Any] | None:
    try:
        return client.query(client.choose(sockets / "alto.sock", sockets))
    except client.StationError:
        return None


@contextlib.contextmanager
def _turn(places: Places, *, wait: bool = False) -> Iterator[bool]:
    """Whether the card is ours alone, within."""
    places.own.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (places.own / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def _remember(places: Places, verdict: Verdict) -> None:
    fresh = places.verdict.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(verdict)))
    fresh.replace(places.verdict)


def _verdict(places: Places) -> Verdict | None:
    """The last one; None at the first look since the machine started."""
    try:
        told = json.loads(places.verdict.read_text())
        for key in ("problems", "warnings"):
            told[key] = tuple(told[key])
        return Verdict(**{**told, "outcome": Outcome(told["outcome"])})
    except (OSError, ValueError, TypeError, LookupError):
        return None


def _owner() -> tuple[int, int] | None:
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        return None
    return (user.pw_uid, user.pw_gid) if os.geteuid() == 0 else None


def _credentials() -> dict[str, str]:
    """What the station gets from systemd beside the file, so that a file without secrets is no mistake."""
    return {name: value for name in ("CREDENTIALS_DIRECTORY",) if (value := os.environ.get(name))}


def _systemctl(*words: str) -> None:
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", *words], check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
