"""Where sound is missing, what is left of it is joined without a click. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np

from appliance.ports import Samples

SEAM_S: Final = 0.005  # shorter is a click, longer eats consonants


def tail_of(rate_hz: int) -> Samples:
    """Memory for what `join` needs of the sound before a seam: silence, shape (n,)."""
    return np.zeros(round(SEAM_S * rate_hz), np.int16)


def remember(samples: Samples, tail: Samples) -> None:
    """Keep the end of `samples` in `tail`."""
    size = min(samples.size, tail.size)
    if size < tail.size:
        tail[: -size or None] = tail[size:].copy()
    tail[tail.size - size :] = samples[samples.size - size :]


def join(samples: Samples, tail: Samples) -> None:
    """Have `samples` follow from `tail`, between which something is missing: the mirror image of what was there fades
    out while what comes fades in, so neither the value nor the loudness jumps. Changes `samples`."""
    size = min(samples.size, tail.size)
    if not size:
        return
    come = np.arange(1, size + 1, dtype=np.float32) / size
    went = tail[tail.size - size :][::-1]
    head = samples[:size]
    head[:] = np.rint(head * come + went * (1 - come))
