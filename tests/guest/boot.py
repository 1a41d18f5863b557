"""A guest kernel with real sound cards, on a machine that has none: User-Mode Linux as an ordinary program.

The guest sees this machine's own files, read-only, so that the same interpreter and packages run inside; it adds a
kernel of its own with four `snd-aloop` cards and an `snd-dummy`. A session boots once (about 3 s) and then runs
functions of `tests/guest/inside*.py` by name, each in a fresh process:

    answer = guest.call("tests.guest.inside:names", part="loop")

`$ALTO_GUEST_KERNEL` names the kernel; `tests/guest/README.md` says how to make one.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.harness.netns import INTERFACE, Machine
from tests.harness.processes import going_first
from tests.harness.wait import until

KERNEL_VARIABLE: Final = "ALTO_GUEST_KERNEL"
HOW_TO_GET_ONE: Final = (
    f"set {KERNEL_VARIABLE} to a User-Mode Linux kernel with snd-aloop; recipe: tests/guest/README.md"
)
REPOSITORY: Final = Path(__file__).resolve().parents[2]

BOOT_S: Final = 60.0  # 2.5 s measured; a busy machine with two cores may take ten times as long
CALL_S: Final = 60.0
END_S: Final = 5.0

BOARD_PRIORITY: Final = 4  # sound cards wait for nobody but the stations on this side of the glass, which may take 5

SOUND_CARDS: Final = (
    "snd_aloop.enable=1,1,1,1",
    "snd_aloop.id=Loopback,Kitchen,Porch,Garden",
    "snd_aloop.index=0,-1,-1,-1",  # the others take the first number that is free, as USB cards do
    "snd_aloop.pcm_substreams=2,2,2,2",
    "snd_dummy.index=5",
)

INIT: Final = """#!/bin/sh
# First process of the guest: lays memory over what must be written, then waits for calls.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir -p /run/share /run/home /run/tmp
mount -t hostfs none /run/share -o {share}
ip link set lo up
[ -z "{address}" ] || {{ ip address add {address}/24 dev vec0 && ip link set vec0 up; }}
export HOME=/run/home TMPDIR=/run/tmp XDG_RUNTIME_DIR=/run/home PATH={path} PYTHONPATH={repository}
export PYTHONDONTWRITEBYTECODE=1 PYTHONFAULTHANDLER=1
cd {repository}
{python} -m tests.guest.agent /run/share >/run/share/agent.log 2>&1
echo "agent ended with $?" >>/run/share/agent.log
poweroff -f
"""


class GuestError(AssertionError):
    """The function failed in the guest; its traceback, or why there is none."""


class Guest:
    """One booted kernel. A context manager; not for several threads. Make it on the main thread.

    `machine`: whose place in a test's network it takes; its card is `vec0` inside. `processors`: one does not spin for
    a lock whose holder the host has set aside, as two do on a busy host, for minutes; a whole station needs two.
    """

    def __init__(
        self, kernel: Path, *, memory: str = "1G", processors: int = 1, machine: Machine | None = None
    ) -> None:
        self._kernel: Final = kernel
        self._processors: Final = processors
        self._machine: Final = machine
        self._memory: Final = memory
        self._share: Final = tempfile.TemporaryDirectory(prefix="alto-guest-")
        self._numbers: Final = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def share(self) -> Path:
        """A directory that host and guest both write; /run/share in the guest."""
        return Path(self._share.name)

    @property
    def log(self) -> str:
        """The kernel's console and what the agent printed."""
        texts = [path.read_text(errors="replace") for path in sorted(self.share.glob("*.log"))]
        return "\n".join(texts)[-8000:]

    def call(self, function: str, *, deadline_s: float = CALL_S, **arguments: object) -> Any:
        """Run `module:function(**arguments)` in a process of the guest and return what it returned (JSON both ways).

        Raises GuestError with the guest's traceback when it failed, died or took longer than `deadline_s`.
        """
        number = next(self._numbers)
        request = {"function": function, "arguments": arguments, "deadline_s": deadline_s}
        _write_whole(self.share / f"{number}.request", json.dumps(request))
        answer = json.loads(self._wait_for(self.share / f"{number}.answer", deadline_s + END_S))
        if answer["error"]:
            raise GuestError(f"{function} failed in the guest:\n{answer['error']}")
        return answer["value"]

    def start(self) -> Self:
        """Boot and wait until calls are taken."""
        init = self.share / "init"
        init.write_text(self._init())
        init.chmod(init.stat().st_mode | stat.S_IXUSR)
        if self._machine:
            self._machine.ip("address", "flush", "dev", INTERFACE)  # it is the guest's now
        with (self.share / "console.log").open("wb") as console, going_first(BOARD_PRIORITY):
            self._process = subprocess.Popen(
                self._command(init),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env=_environment(self.share),
                start_new_session=True,
            )
        self._wait_for(self.share / "ready", BOOT_S)
        return self

    def close(self) -> None:
        """End the guest: by its own will if it can, by its process group else. Idempotent."""
        if self._process is not None:
            _write_whole(self.share / "stop", "")
            _end_group(self._process)
            self._process = None
        self._share.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _command(self, init: Path) -> list[str]:
        root = ("rootfstype=hostfs", "rootflags=/", "root=/dev/root", "ro", f"init={init}")
        consoles = ("con=null", "con0=null,fd:1", "ssl=null", "console=tty0", "quiet")
        inside = self._machine.words if self._machine else ()
        card = [f"vec0:transport=raw,ifname={INTERFACE}"] if self._machine else []
        # What is too new for a kernel goes to init.
        own = (f"mem={self._memory}", f"ncpus={self._processors}", "seccomp=auto", *card)
        return [*inside, str(self._kernel), *own, *root, *consoles, *SOUND_CARDS]

    def _init(self) -> str:
        return INIT.format(
            share=self.share,
            path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
            repository=REPOSITORY,
            python=sys.executable,
            address=self._machine.address if self._machine else "",
        )

    def _wait_for(self, path: Path, deadline_s: float) -> str:
        until(lambda: path.exists() or self._ended(), deadline_s, lambda: f"{path.name}; the guest says:\n{self.log}")
        if not path.exists():
            raise GuestError(f"the guest kernel ended by itself; it says:\n{self.log}")
        return path.read_text()

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None


def _environment(share: Path) -> Mapping[str, str]:
    """The kernel takes its memory file from TMPDIR and its control socket from HOME: both go with the guest."""
    return {**os.environ, "HOME": str(share), "TMPDIR": os.environ.get("TMPDIR", "/dev/shm")}  # noqa: S108


def _write_whole(path: Path, text: str) -> None:
    """The other side sees the file with all of its text, or not at all."""
    part = path.with_suffix(".part")
    part.write_text(text)
    part.rename(path)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """The kernel is several processes of this machine in one group of their own, made by `start`."""
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
