"""What `Restart=always` with `RestartSec=1` does, for tests: `python -m tests.harness.restarter COMMAND…`.

Whenever the command ends, however it ends, it is started again a second later; SIGTERM ends both.
"""

from __future__ import annotations

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

    while True:
        child.append(spawn(words, stdout=None, stderr=None, death_signal="TERM"))
        signal.signal(signal.SIGTERM, end)
        code = child[-1].wait()
        if ending.wait(PAUSE_S):
            return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
