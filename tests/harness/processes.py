"""Programs that the tests start: they die with the test run, and only they are ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from tests.harness.wait import until

Stream = int | IO[Any] | None

STATION: Final = 5  # the real-time priority that a station may take
HARDWARE: Final = 20  # above that
PREFERRED: Final = -10  # nine times the share of a process that nobody prefers


def spawn(
    args: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = subprocess.DEVNULL,
    stderr: Stream = subprocess.DEVNULL,
    death_signal: str = "KILL",
) -> subprocess.Popen[bytes]:
    """Start a program that the kernel sends `death_signal` when the test run dies, however it dies.

    The signal comes when the *thread* that called this ends: call it from the main thread. The program gets a session
    of its own: Ctrl-C reaches the test run alone, which then ends everything in order. A run that has a priority hands
    it on: Linux shares the processor among sessions first (autogroup), where an inherited nice value means nothing.
    """
    words = [str(word) for word in args]
    if setpriv := shutil.which("setpriv"):
        words = [setpriv, "--pdeathsig", death_signal, "--", *words]
    process = subprocess.Popen(
        words,
        env=dict(env) if env is not None else None,
        cwd=cwd,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )
    if nice := os.getpriority(os.PRIO_PROCESS, 0):
        prefer(process.pid, nice)
    return process


def prefer(pid: int, nice: int = PREFERRED) -> None:
    """Put a process and all of its session before (or, with 0, among) the others; nothing happens without root."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))


@contextlib.contextmanager
def preferred() -> Iterator[None]:
    """Root: this run, and what it starts meanwhile, go before everything else that the machine does. For what is
    measured: a station has its board for itself."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    prefer(os.getpid())
    try:
        yield
    finally:
        prefer(os.getpid(), before)


@contextlib.contextmanager
def going_first(priority: int = STATION) -> Iterator[None]:
    """Root: the calling thread, and what is started from it meanwhile, go before all that is not real time, as all of
    a station does. For sound devices that are opened in a test itself, or in a guest."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def as_hardware(pid: int) -> None:
    """For a program that stands for hardware: whatever else runs, it gets the processor. Where that is not allowed,
    nothing happens. From outside, because PulseAudio gives up what it inherits."""
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(HARDWARE))


def read_by_threads(*reads: Callable[[], None]) -> list[threading.Thread]:
    """Have each done by a thread of its own. They begin one after the other: of two that begin at once under coverage
    one may die before it does anything (python/cpython#98257, up to 3.11)."""
    threads = []
    for read in reads:
        begun = threading.Event()

        def run(read: Callable[[], None] = read, begun: threading.Event = begun) -> None:
            begun.set()
            read()

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        begun.wait()
    return threads


def end(process: subprocess.Popen[bytes], *patience: tuple[signal.Signals, float]) -> int:
    """End a process by its pid: each signal in turn with the seconds it is given, SIGKILL at last. Idempotent."""
    for number, seconds in patience:
        if process.poll() is not None:
            break
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    if process.poll() is None:
        process.kill()
    return process.wait()


def is_running(pid: int) -> bool:
    """Whether a process of that id is there and is no zombie."""
    return _state(Path(f"/proc/{pid}")) not in ("", "Z")


def freeze(pid: int) -> None:
    """Stop a process; returns when each of its threads stands still (they may take a moment)."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    until(lambda: {_state(thread) for thread in threads.iterdir()} <= {"T"}, 5.0, f"process {pid} to stand still")


def resume(pid: int) -> None:
    """Continue a frozen process; nothing happens when it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def descendants(pid: int) -> set[int]:
    """Ids of a process's children, and of theirs, as of now."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found: set[int] = set()
    todo = [pid]
    while todo:
        fresh = children.get(todo.pop(), [])
        found.update(fresh)
        todo.extend(fresh)
    return found


def thread_names(pid: int) -> list[str]:
    """What a process's threads are called; one that has not named itself is called as the program."""
    names = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it ended meanwhile
            names.append((thread / "comm").read_text().strip())
    return names


def _state(proc: Path) -> str:
    """The kernel's letter for what it does; empty when it is gone."""
    try:
        return (proc / "stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
