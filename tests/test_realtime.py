"""What the kernel grants a process, asked in processes of their own: this one must stay as it is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can say what it may and what it may not")

CLAIM = """
import os, re, threading
from appliance.realtime import claim
granted = claim()
print(granted.policy, granted.locked, int(re.search(r"VmLck:\\s+(\\d+)", open("/proc/self/status").read())[1]) > 0)
threading.Thread(target=lambda: print(os.sched_getscheduler(0) == os.SCHED_RR)).start()
"""


def _claims(*wrapper: str) -> list[str]:
    done = subprocess.run([*wrapper, sys.executable, "-c", CLAIM], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_root_gets_real_time_and_its_threads_inherit_it() -> None:
    assert _claims()[::3] == ["rr", "True"]


def test_root_keeps_what_is_in_memory_there() -> None:
    assert _claims()[1:3] == ["True", "True"]


def test_who_may_not_have_real_time_runs_all_the_same() -> None:
    """Without the capability and without a limit that allows it."""
    policy, locked, held, threads_rr = _claims(
        "setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--clear-groups"
    )
    assert policy in ("nice", "normal")
    assert (locked, held, threads_rr) == ("False", "False", "False")


HEAPS = """
import ctypes, os, tempfile, threading
from appliance.realtime import claim
libc = ctypes.CDLL(None)
libc.fopen.restype, libc.malloc.restype = ctypes.c_void_p, ctypes.c_void_p
claim()
all_at_once = threading.Barrier(8)
def take():
    all_at_once.wait()
    libc.malloc(ctypes.c_size_t(2000))
    all_at_once.wait()
threads = [threading.Thread(target=take) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
with tempfile.NamedTemporaryFile() as told:
    file = libc.fopen(told.name.encode(), b"w")
    libc.malloc_info(0, ctypes.c_void_p(file))
    libc.fclose(ctypes.c_void_p(file))
    print(told.read().decode().count("<heap nr="))
"""


def test_all_threads_share_two_heaps() -> None:
    done = subprocess.run([sys.executable, "-c", HEAPS], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 2
