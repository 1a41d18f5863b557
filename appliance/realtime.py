"""Precedence over the other programs on the board: sound that waits for a processor, or for memory, is a gap.

The whole process gets it, not the audio threads alone: they need Python's lock, and whoever holds it must not have to
wait behind a software update. Threads and the embedded server, which carries the sound as well, inherit it. Measured
with both processors overloaded (load 10): of 599 marks a listener missed 47 and mouth to ear was 260 ms without, none
of 59 and 131 ms with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import resource
import sys
from dataclasses import dataclass
from typing import Final

import structlog

log = structlog.get_logger()

PRIORITY: Final = 5  # PulseAudio's and PipeWire's own, far below the kernel's interrupt threads at 50
NICE: Final = -11  # what desktops give their sound servers when real time is not to be had
SWITCH_S: Final = 0.0005
"""After which a thread that runs Python lets another one in that waits. While one is busy all the time, an audio
thread waits so long at each turn: 5.1 ms (median) with Python's own 5 ms, half of a block; 0.6 with this, for 2 % more
work."""
LOCK: Final = 1 | 2 | 4  # sys/mman.h: MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT
ON_FAULT: Final = 1  # sys/mman.h: MLOCK_ONFAULT
ARENA_MAX: Final = -8  # malloc.h: M_ARENA_MAX
ARENAS: Final = 2
"""Heaps that all threads share. glibc's own limit is eight for each processor, and each keeps what was once needed:
2 to 3 MB in all, which stay locked. One saves no more, and nothing is slower with two (measured with nine voices)."""

FIX: Final = "allow real time: AmbientCapabilities=CAP_SYS_NICE or LimitRTPRIO=5 in the unit, rtprio in limits.conf"


@dataclass(frozen=True, slots=True)
class Precedence:
    """What the kernel granted: `rr` (real time, `value` its priority), `nice` (`value` the niceness) or `normal`."""

    policy: str
    value: int = 0
    locked: bool = False
    """Whether what is in memory stays there, program code included."""

    def tell(self) -> None:
        """One line in the log."""
        fix = FIX if self.policy == "normal" else ""
        log.info("process.priority", policy=self.policy, value=self.value, locked=self.locked, fix=fix)


def claim() -> Precedence:
    """Ask for as much as the kernel gives this user. Call before the first thread is made; never raises."""
    sys.setswitchinterval(SWITCH_S)
    _share_heaps()
    locked = _lock_memory()
    try:
        # Not SCHED_RESET_ON_FORK: the kernel takes a new thread for a fork as well.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
        return Precedence("rr", PRIORITY, locked)
    except OSError:
        pass
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        return Precedence("nice", NICE, locked)
    except OSError:
        return Precedence("normal", locked=locked)


def stand_back(thread_id: int) -> bool:
    """Take one thread of this process out of real time, by the kernel's number of it; whether it was in it."""
    try:
        if os.sched_getscheduler(thread_id) != os.SCHED_RR:
            return False
        os.sched_setscheduler(thread_id, os.SCHED_OTHER, os.sched_param(0))
    except OSError:  # it has ended meanwhile
        return False
    return True


def come_forward() -> None:
    """Have the calling thread back in real time, after `stand_back`."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))


def _share_heaps() -> None:
    with contextlib.suppress(OSError, AttributeError):  # a C library that is not glibc
        ctypes.CDLL(None).mallopt(ARENA_MAX, ARENAS)


def _lock_memory() -> bool:
    """Code that was dropped for want of memory comes back from a card in tens of milliseconds: keep what was used.

    Pages count when they are touched, so 25 stacks of 8 MB cost nothing. Never under a limit that holds: all address
    space counts there, and what is asked for later would be refused.
    """
    try:
        libc = ctypes.CDLL(None)
        return _without_limit(libc) and bool(libc.mlockall(LOCK) == 0)
    except (OSError, ValueError, AttributeError):
        return False


def _without_limit(libc: ctypes.CDLL) -> bool:
    """Whether the kernel lets this process lock more than its limit says: only trying tells, in a container."""
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit == resource.RLIM_INFINITY:
        return True
    with mmap.mmap(-1, limit + mmap.PAGESIZE) as more:
        held = ctypes.c_char.from_buffer(more)
        granted = libc.mlock2(ctypes.c_void_p(ctypes.addressof(held)), ctypes.c_size_t(len(more)), ON_FAULT) == 0
        del held  # the mapping cannot be closed while something points into it
    return bool(granted)
