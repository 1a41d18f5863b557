"""Pure: the same message again and again becomes a few lines and a count."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

PER_WINDOW: Final = 5  # enough to see that it repeats, and how fast
WINDOW_S: Final = 60.0
MOST_KEYS: Final = 256  # different messages remembered; a library that never repeats itself cannot grow this
KEY_LENGTH: Final = 160

_VARYING: Final = re.compile(r"0x[0-9a-f]+|\b(?:PA|TR|RM|EG)_\w+|[0-9a-f]{8,}|\d+", re.I)


@dataclass(slots=True)
class _Seen:
    since: float
    count: int = 0
    folded: int = 0


class Folder:
    """Lets a message through `per_window` times a window. Not thread-safe: its caller holds a lock."""

    def __init__(self, *, per_window: int = PER_WINDOW, window_s: float = WINDOW_S) -> None:
        self._per_window = per_window
        self._window_s = window_s
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    def admit(self, message: str, now: float) -> int | None:
        """None: fold this one. Otherwise show it, with the number of alike ones that were folded before it."""
        key = alike(message)
        seen = self._seen.get(key)
        if seen is None or now - seen.since >= self._window_s:
            before = seen.folded if seen else 0
            self._remember(key, _Seen(since=now, count=1))
            return before
        if seen.count < self._per_window:
            seen.count += 1
            return 0
        seen.folded += 1
        return None

    def _remember(self, key: str, seen: _Seen) -> None:
        self._seen[key] = seen
        self._seen.move_to_end(key)
        if len(self._seen) > MOST_KEYS:
            self._seen.popitem(last=False)


def alike(message: str) -> str:
    """What two messages that differ by numbers, addresses and ids have in common."""
    return _VARYING.sub("#", message[: 2 * KEY_LENGTH])[:KEY_LENGTH]
