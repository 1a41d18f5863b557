"""Hours and days of clocks that differ, simulated: `python -m tests.bench.drift --hours 24`.

One line for each kind of trouble, and the exit code 1 if a bar was missed. The short form of it is among the tests
(`tests/audio/test_drift.py`). A simulated day takes eight minutes of one idle processor for each line.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from tests.audio.clocks import Call, Conditions, Heard

SETTLE_S: Final = 600.0  # until then the clocks may be found out, and what is late again and again may be noticed

OFF_TARGET_SHARE: Final = 1e-4  # of blocks more than 5 ms off: a late frame that was not waited for moves the wait
OFF_TARGET_S: Final = 10.0  # within which what is too much is out again
PITCH_CENTS: Final = 1.0
DISTORTION_DB: Final = -60.0


def ramp(mean_ppm: float, swing_ppm: float, period_s: float) -> Conditions:
    """A crystal that warms up and cools down."""
    return Conditions(device_ppm=lambda s: mean_ppm + swing_ppm * math.sin(2 * math.pi * s / period_s))


KINDS: Final[Mapping[str, Conditions]] = {
    "fast": Conditions(device_ppm=lambda _: 300.0),
    "slow": Conditions(device_ppm=lambda _: -300.0),
    "ramp": ramp(240, 60, 1200),
    "47.7 kHz": Conditions(device_ppm=lambda _: -6250.0),
    "bunched": Conditions(device_ppm=lambda _: 300.0, bunch=4, callback_jitter_s=0.001),
    "44.1 kHz": Conditions(device_hz=44100, device_ppm=lambda _: 200.0),
    "late": Conditions(device_ppm=lambda _: 50.0, late_a_minute=2),
    "rarely late": Conditions(device_ppm=lambda _: 50.0, late_a_minute=0.1),
    "all": Conditions(
        device_ppm=lambda s: -240 + 60 * math.sin(2 * math.pi * s / 1200),
        bunch=2,
        late_a_minute=2,
        callback_jitter_s=0.001,
        frame_jitter_s=0.001,
    ),
}


def missed(heard: Heard) -> list[str]:
    """Which bars were missed, in words."""
    bars = {
        "underruns": heard.underruns > 0,
        "dropped": heard.dropped > 0,
        "errors": heard.errors > 0,
        f"off target {100 * heard.off_target_share:.3f} % of the time": heard.off_target_share > OFF_TARGET_SHARE,
        f"off target for {heard.off_target_s:.1f} s": heard.off_target_s > OFF_TARGET_S,
        f"pitch off by {heard.pitch_cents:.2f} cents": heard.pitch_cents > PITCH_CENTS,
        f"THD+N {heard.distortion_db:.1f} dB": heard.distortion_db > DISTORTION_DB,
    }
    return [words for words, is_missed in bars.items() if is_missed]


def line(kind: str, heard: Heard, took_s: float) -> str:
    """One kind of trouble as a line for a person."""
    target = f"{heard.target_ms[0]:.0f}-{heard.target_ms[1]:.0f}"
    off = f"> 5 ms {100 * heard.off_target_share:.3f} %, {heard.off_target_s:.1f} s in a row"
    return (
        f"{kind:12} {heard.seconds / 3600:.1f} h  underruns {heard.underruns}  off target {heard.off_target_ms:5.2f} ms"
        f" ({off})  target {target} ms  pitch {heard.pitch_cents:5.3f} cents"
        f"  THD+N {heard.distortion_db:6.1f} dB ({heard.judged})  cut {heard.trimmed_ms:.0f}"
        f"  again {heard.stretched_ms:.0f} ms  [{took_s:.0f} s]"
    )


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.drift", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one object a line instead of words")
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="default: all of them")
    arguments = parser.parse_args()
    bad = False
    for kind in arguments.kinds or KINDS:
        began_s = time.monotonic()

        def progress(heard: Heard, kind: str = kind, began_s: float = began_s) -> None:
            print(line(kind, heard, time.monotonic() - began_s), file=sys.stderr, flush=True)

        heard = Call(KINDS[kind], seed=arguments.seed).run(
            3600 * arguments.hours, settle_s=SETTLE_S, every_s=60, each_hour=progress
        )
        said = {"kind": kind, **asdict(heard), "wait_ms": [], "missed": missed(heard)}
        print(json.dumps(said) if arguments.json else line(kind, heard, time.monotonic() - began_s), flush=True)
        bad = bad or bool(missed(heard))
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
