"""alto with a loose tongue: `python -m tests.bench.chatty run …` logs 500 lines at once every 20 s, on the event loop.

That is what a crowd that comes in at once, or a network that flaps, does to a station's log.
"""

from __future__ import annotations

import signal
import sys
from typing import Final

import structlog

from appliance.cli import main

LINES: Final = 500
EVERY_S: Final = 20.0


def burst(_number: int, _frame: object) -> None:
    """The handler of a signal runs where the event loop does."""
    log = structlog.get_logger()
    for number in range(LINES):
        log.info("bench.line", number=number)


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, burst)
    signal.setitimer(signal.ITIMER_REAL, EVERY_S, EVERY_S)
    sys.exit(main())
