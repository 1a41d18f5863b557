"""Hours and days of clocks that differ, simulated: `python -m tests.bench.drift --hours 24`.

One line for each kind of trouble and each way, in (network to speaker) and out (microphone to network), and the exit
code 1 if a bar was missed. The short form of it is among the tests (`tests/audio/test_drift.py`, `test_timed.py`). A
simulated day takes ten to fifteen minutes of one idle processor on the way in, twenty on the way out. The devices'
blocks are as long as alto asks for, unless `--block-ms` says otherwise.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Final

from appliance.settings.model import AudioSettings
from tests.audio.clocks import Call, Conditions, Heard, Said, Talk, ramp

SETTLE_S: Final = 600.0  # until then the clocks may be found out, and what is late again and again may be noticed

OFF_TARGET_SHARE: Final = 1e-4  # of blocks more than 5 ms off: a late frame that was not waited for moves the wait
OFF_TIME_MS: Final = 5.0  # by what is sent, since it settled: what a listener's buffer has to take up
OFF_TARGET_S: Final = 10.0  # within which what is too much is out again
PITCH_CENTS: Final = 1.0
DISTORTION_DB: Final = -60.0

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

USUAL_BLOCK_MS: Final = {"in": AudioSettings().output_block_ms, "out": AudioSettings().block_ms}
NETWORK_KINDS: Final = ("late", "rarely late")  # a microphone knows nothing of these


def missed(heard: Heard) -> list[str]:
    """Which bars were missed on the way in, in words."""
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


def missed_out(said: Said) -> list[str]:
    """Which bars were missed on the way out, in words."""
    bars = {
        "dropped": said.dropped > 0,
        f"off by {said.off_ms:.2f} ms": said.off_ms > OFF_TIME_MS,
        f"pitch off by {said.pitch_cents:.2f} cents": said.pitch_cents > PITCH_CENTS,
        f"THD+N {said.distortion_db:.1f} dB": said.distortion_db > DISTORTION_DB,
    }
    return [words for words, is_missed in bars.items() if is_missed]


def line_out(kind: str, said: Said, took_s: float) -> str:
    """One kind of trouble on the way out as a line for a person."""
    return (
        f"{kind:12} {said.seconds / 3600:.1f} h  out  dropped {said.dropped}  off {said.off_ms:5.2f} ms"
        f"  pitch {said.pitch_cents:5.3f} cents  THD+N {said.distortion_db:6.1f} dB ({said.judged})  [{took_s:.0f} s]"
    )


def line(kind: str, heard: Heard, took_s: float) -> str:
    """One kind of trouble on the way in as a line for a person."""
    target = f"{heard.target_ms[0]:.0f}-{heard.target_ms[1]:.0f}"
    off = f"> 5 ms {100 * heard.off_target_share:.3f} %, {heard.off_target_s:.1f} s in a row"
    return (
        f"{kind:12} {heard.seconds / 3600:.1f} h  in   underruns {heard.underruns}"
        f"  off target {heard.off_target_ms:5.2f} ms ({off})  target {target} ms  pitch {heard.pitch_cents:5.3f} cents"
        f"  THD+N {heard.distortion_db:6.1f} dB ({heard.judged})  cut {heard.trimmed_ms:.0f}"
        f"  again {heard.stretched_ms:.0f} ms  [{took_s:.0f} s]"
    )


def come_in(kind: str, *, block_ms: float, hours: float, seed: int) -> tuple[Heard, list[str]]:
    """The way in; tells how it goes each simulated hour."""
    began_s = time.monotonic()

    def progress(heard: Heard) -> None:
        print(line(kind, heard, time.monotonic() - began_s), file=sys.stderr, flush=True)

    call = Call(replace(KINDS[kind], block_ms=block_ms), seed=seed)
    heard = call.run(3600 * hours, settle_s=SETTLE_S, every_s=60, each_hour=progress)
    return heard, missed(heard)


def go_out(kind: str, *, block_ms: float, hours: float, seed: int) -> tuple[Said, list[str]]:
    """The way out."""
    talk = Talk(replace(KINDS[kind], block_ms=block_ms), seed=seed)
    said = talk.run(3600 * hours, settle_s=SETTLE_S, every_s=60)
    return said, missed_out(said)


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.drift", description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--way", choices=("in", "out", "both"), default="both")
    parser.add_argument("--block-ms", type=float, help="of the devices; default: alto's own, see alto.yaml")
    parser.add_argument("--json", action="store_true", help="one object a line instead of words")
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="default: all of them")
    arguments = parser.parse_args()
    bad = False
    for kind in arguments.kinds or KINDS:
        for way in ("in", "out"):
            if arguments.way not in (way, "both") or (way == "out" and kind in NETWORK_KINDS):
                continue
            began_s = time.monotonic()
            go = come_in if way == "in" else go_out
            block_ms = arguments.block_ms or USUAL_BLOCK_MS[way]
            found, bars = go(kind, block_ms=block_ms, hours=arguments.hours, seed=arguments.seed)
            took_s = time.monotonic() - began_s
            said = {"kind": kind, "way": way, **asdict(found), "wait_ms": [], "missed": bars}
            words = line(kind, found, took_s) if isinstance(found, Heard) else line_out(kind, found, took_s)
            print(json.dumps(said) if arguments.json else words, flush=True)
            bad = bad or bool(bars)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
