"""A station's whole computer as a program: User-Mode Linux on a disk and a FAT card of its own.

It can be switched on, be told to run scripts, and lose its power at any moment. The disk is a layer over an image that
several machines share; what the guest had not written when the power went is lost, as on a board.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BOOT_S: Final = 240.0  # 12 s on an idle machine; a busy one with two cores takes many times that
CARD_MIB: Final = 64

SOUND_CARDS: Final = (
    "snd_aloop.enable=1,1,1",
    "snd_aloop.index=0,1,2",
    "snd_aloop.pcm_substreams=2,2,2",
    "snd_dummy.enable=0",
)


class MachineError(AssertionError):
    """The machine does not do what it was told."""


@dataclass(frozen=True)
class Done:
    """What a script said, and its exit code."""

    code: int
    text: str


class Machine:
    """One computer below `folder`. Not for several threads."""

    def __init__(self, folder: Path, *, kernel: Path, root: Path, memory: str = "768M") -> None:
        self.folder = folder
        self.share = folder / "share"
        self.card = folder / "card.img"
        self._disk = folder / "disk.cow"
        self._kernel = kernel
        self._root = root
        self._memory = memory
        self._numbers = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        self._boots = 0
        self.share.mkdir(parents=True, exist_ok=True)
        if not self.card.exists():
            _format(self.card)

    def take_disk_of(self, other: Machine) -> None:
        """Start from the state in which the other one was switched off."""
        assert not other.is_on
        assert not self.is_on
        words: list[str | Path] = ["cp", "--sparse=always", other._disk, self._disk]
        subprocess.run(words, check=True)

    # ---- power

    def switch_on(self, *, quick: bool = False, kernel_words: tuple[str, ...] = ()) -> float:
        """Boot, and wait until scripts are taken; seconds that it took. `quick`: without systemd."""
        assert self._process is None, "it is on"
        for leftover in self.share.glob("*"):
            if leftover.name == "ready" or leftover.suffix in (".job", ".running", ".out", ".code", ".part"):
                leftover.unlink()
        began = time.monotonic()
        self._boots += 1
        with (self.folder / f"console-{self._boots}.log").open("wb") as console:
            self._process = subprocess.Popen(
                self._command(quick, kernel_words),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                start_new_session=True,
            )
        self._wait(self.share / "ready", BOOT_S)
        return time.monotonic() - began

    def cut_power(self) -> None:
        """At once: nothing that the guest had in memory gets to its disk."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for disk in filter(Path.exists, (self._disk, self.card)):
                with disk.open("r+b") as held:
                    fcntl.lockf(held, fcntl.LOCK_EX)  # until its helpers have died as well

    def switch_off(self) -> None:
        """As a person does who knows how."""
        if self._process is not None:
            self.begin("systemctl poweroff --no-block 2>/dev/null || { sync; mount -o remount,ro /; poweroff -f; }")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
            self.cut_power()

    @property
    def is_on(self) -> bool:
        return self._process is not None and self._process.poll() is None

    # ---- hands

    def begin(self, script: str) -> int:
        """Start a script; its number."""
        number = next(self._numbers)
        part = self.share / f"{number}.part"
        part.write_text(script)
        part.rename(self.share / f"{number}.job")
        return number

    def end(self, number: int, deadline_s: float = 60.0) -> Done:
        """Wait for it."""
        code = self._wait(self.share / f"{number}.code", deadline_s)
        return Done(int(code), (self.share / f"{number}.out").read_text(errors="replace"))

    def run(self, script: str, deadline_s: float = 60.0) -> str:
        """Run a script that has to succeed; what it said."""
        done = self.end(self.begin(script), deadline_s)
        if done.code != 0:
            raise MachineError(f"{script}\nended with {done.code}:\n{done.text[-4000:]}")
        return done.text

    def until(self, script: str, deadline_s: float, what: str) -> str:
        """Run a script again and again until it succeeds; what it said then."""
        end = time.monotonic() + deadline_s
        while True:
            done = self.end(self.begin(script), max(deadline_s, 30.0))
            if done.code == 0:
                return done.text
            if time.monotonic() > end:
                raise MachineError(f"waited {deadline_s:g} s for {what}; the last look said:\n{done.text[-4000:]}")
            time.sleep(0.2)

    # ---- the card, in another computer

    def put_on_card(self, name: str, data: bytes) -> None:
        """While the machine is off."""
        assert not self.is_on, "the card is in the machine"
        source = self.folder / "to-card"
        source.write_bytes(data)
        _mtools("mcopy", "-o", "-i", self.card, source, f"::{name}")

    def read_card(self, name: str) -> bytes:
        assert not self.is_on, "the card is in the machine"
        target = self.folder / "from-card"
        target.unlink(missing_ok=True)
        _mtools("mcopy", "-n", "-i", self.card, f"::{name}", target)
        return target.read_bytes()

    # ---- pieces

    def _command(self, quick: bool, kernel_words: tuple[str, ...]) -> list[str]:
        disks = (f"ubd0={self._disk},{self._root}", f"ubd1={self.card}", "root=/dev/ubda", "rootfstype=ext4")
        consoles = ("con=null", "con0=null,fd:1", "ssl=null", "console=tty0", "quiet")
        first = ("rw", "init=/usr/local/sbin/init") if quick else ("ro", "systemd.show_status=false")
        hands = (f"alto.share={self.share}",)
        # It must not outlive a test run that is ended from outside.
        start = ["setpriv", "--pdeathsig", "KILL", str(self._kernel)]
        start += [f"mem={self._memory}", "ncpus=2", "seccomp=auto"]
        return [*start, *disks, *first, *consoles, *hands, *SOUND_CARDS, *kernel_words]

    def _environment(self) -> Mapping[str, str]:
        """The kernel's memory file goes to TMPDIR, its control socket to HOME: both go with the machine."""
        return {**os.environ, "HOME": str(self.folder), "TMPDIR": os.environ.get("TMPDIR", "/dev/shm")}  # noqa: S108

    def _wait(self, path: Path, deadline_s: float) -> str:
        end = time.monotonic() + deadline_s
        while not path.exists():
            if not self.is_on:
                raise MachineError(f"the machine went off while {path.name} was waited for:\n{self._console()}")
            if time.monotonic() > end:
                raise MachineError(f"waited {deadline_s:g} s for {path.name}:\n{self._said(path)}\n{self._console()}")
            time.sleep(0.01)
        return path.read_text()

    def _said(self, path: Path) -> str:
        with contextlib.suppress(OSError):
            return path.with_suffix(".out").read_text(errors="replace")[-2000:]
        return ""

    def _console(self) -> str:
        return (self.folder / f"console-{self._boots}.log").read_text(errors="replace")[-3000:]


def _format(card: Path) -> None:
    """Small enough that a cluster is a sector or a few, as on a card whose FAT is written often."""
    with card.open("wb") as file:
        file.truncate(CARD_MIB * 1024 * 1024)
    env = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    subprocess.run(["mkfs.vfat", "-F", "32", "-n", "ALTO-BOOT", card], check=True, capture_output=True, env=env)


def _mtools(*words: str | Path) -> None:
    env = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
    subprocess.run(words, check=True, capture_output=True, env=env)
