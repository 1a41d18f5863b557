"""Time, as a thing that is handed in: tests jump it, the appliance reads the kernel's."""

from __future__ import annotations

import time
from typing import Final

EARLIEST_S: Final = 1_735_689_600.0  # 2025-01-01: alto did not exist before, so a clock that says less was never set


class SystemClock:
    """The kernel's clocks. Any thread."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes back, not even when NTP sets the date."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since 1970, UTC; on a board without a battery it may be decades wrong until NTP answers."""
        return time.time()
