"""What `Restart=always` with `RestartSec=1` does, for tests: `python -m tests.harness.restarter COMMAND…`.

Whenever the command ends, however it ends, it is started again a second later; SIGTERM ends both. It and its command
come first on the processor, where that is granted: what is promised for a start is promised for a board that does
nothing else, and test machines are shared.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from types import FrameType

from tests.harness.processes import spawn

PAUSE_S = 1.0


def main(words: list[str]) -> int:
    """Until SIGTERM; returns the command's last exit code."""
    ending = threading.Event()
    child: list[subprocess.Popen[bytes]] = []

    def end(_number: int, _frame: FrameType | None) -> None:
        ending.set()
        child[-1].terminate()

    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    while True:
        child.append(spawn(words, stdout=None, stderr=None))
        signal.signal(signal.SIGTERM, end)
        code = child[-1].wait()
        if ending.wait(PAUSE_S):
            return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
