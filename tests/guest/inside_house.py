"""Run in the guest: programs that stay when the call is over, and files for them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

CARD: Final = "vec0"
DETOUR: Final = "ifb0"


def write(path: str, text: str) -> None:
    """A file for its owner's eyes, moved into place as editors do."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(target)


def write_tone(path: str, hz: float, seconds: int) -> None:
    """Raw mono 48 kHz for aplay."""
    from tests.harness.signals import tone

    Path(path).write_bytes(tone(hz, 1.0).tobytes() * seconds)


def launch(words: Sequence[str], env: Mapping[str, str], out: str) -> tuple[int, float]:
    """Start a program whose output goes to that file; its process id, which is its group's, and when that was."""
    with Path(out).open("ab") as stdout, Path(out + ".err").open("ab") as stderr:
        process = subprocess.Popen(
            words,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    return process.pid, time.time()


def send(pid: int, number: int) -> float:
    """Signal a launched program and what it started, unless it is gone; when that was, by this machine's clock."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.Signals(number))
    return time.time()


def alive(pid: int) -> bool:
    """Whether it runs."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def set_clock(unix_s: float) -> None:
    """The wall clock of the guest, and of nobody else. No kernel lets it be earlier than its own boot in 1970."""
    time.clock_settime(time.CLOCK_REALTIME, max(unix_s, time.monotonic() + 1.0))


def worsen(words: Sequence[str]) -> None:
    """Have netem do this to every packet of the guest, those that leave and those that come. No words: to none."""
    mend_network()
    if not words:
        return
    _tc("qdisc", "add", "dev", CARD, "root", "netem", *words)
    # What comes in is sent through a card that exists for this only: netem works on what leaves.
    _run("ip", "link", "set", DETOUR, "up")
    _tc("qdisc", "add", "dev", CARD, "ingress")
    everything = ("protocol", "all", "u32", "match", "u32", "0", "0")
    elsewhere = ("action", "mirred", "egress", "redirect", "dev", DETOUR)
    _tc("filter", "add", "dev", CARD, "parent", "ffff:", *everything, *elsewhere)
    _tc("qdisc", "add", "dev", DETOUR, "root", "netem", *words)


def mend_network() -> None:
    """Undo `worsen`; packets that netem still holds are lost."""
    for words in (("dev", CARD, "root"), ("dev", CARD, "ingress"), ("dev", DETOUR, "root")):
        subprocess.run(["tc", "qdisc", "del", *words], capture_output=True, check=False)


def _tc(*words: str) -> None:
    _run("tc", *words)


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
