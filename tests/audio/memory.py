"""How much memory a piece of work takes in its steady state."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable


def memory(turn: Callable[[int], None]) -> tuple[int, int]:
    """(bytes that stay, bytes that come and go) of 100 turns. Nobody measures coverage meanwhile: that takes memory."""
    measuring = sys.gettrace()
    sys.settrace(None)
    try:
        return _measured(turn)
    finally:
        sys.settrace(measuring)


def _measured(turn: Callable[[int], None]) -> tuple[int, int]:
    turn(60)
    gc.collect()
    tracemalloc.start()
    try:
        turn(210)  # longer than any window, so that every number that is kept was made anew
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        turn(100)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before, peak - before
