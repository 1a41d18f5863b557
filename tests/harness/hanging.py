"""An alto that can be made to hang: `python -m tests.harness.hanging run -c FILE`.

SIGUSR1: the event loop's thread sleeps for ever, as in a call that blocks. SIGUSR2: it sleeps for ever inside a native
call that keeps the interpreter's lock, so that no thread of Python's moves any more. With `HANG_AT_CLOSE` in its
environment a session never ends to close.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from types import FrameType

from appliance.cli import main

FOR_EVER_S = 10**6


def stuck_event_loop(_number: int, _frame: FrameType | None) -> None:
    """Signal handlers of Python's run on the main thread, which is the loop's."""
    time.sleep(FOR_EVER_S)


def stuck_native_call(_number: int, _frame: FrameType | None) -> None:
    """`PyDLL` keeps the interpreter's lock during the call."""
    ctypes.PyDLL(None).sleep(FOR_EVER_S)


def never_close() -> None:
    """As if whatever a session closes hung, against its promise."""
    from appliance.orchestrator import AudioClientOrchestrator

    async def disconnect(_session: AudioClientOrchestrator) -> None:
        await asyncio.Event().wait()

    AudioClientOrchestrator.disconnect = disconnect  # type: ignore[method-assign]


if __name__ == "__main__":
    if "HANG_AT_CLOSE" in os.environ:
        never_close()
    signal.signal(signal.SIGUSR1, stuck_event_loop)
    signal.signal(signal.SIGUSR2, stuck_native_call)
    sys.exit(main())
