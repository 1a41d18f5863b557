"""How long to wait before the next try: pure, so that ten years of retries are tested in a second."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double from `min_s` to `max_s`, each shortened by up to half at random.

    The jitter spreads three hundred stations that lost one server over the whole pause; keeping at least half of it
    bounds what a single station can do to a server that is just coming up.
    """

    min_s: float
    max_s: float

    def pause_s(self, attempt: int, rng: random.Random) -> float:
        """Seconds to wait after failed try number `attempt` (the first is 1)."""
        doublings = min(max(attempt - 1, 0), 32)  # 2**32 exceeds every max_s; without a bound the float overflows
        ceiling_s = min(self.max_s, self.min_s * 2.0**doublings)
        return ceiling_s * rng.uniform(0.5, 1.0)
