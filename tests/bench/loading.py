"""What a start costs beside what it is made of: `python -m tests.bench.loading`, half a minute.

alto's own code beside the SDK that it loads: processes in turn, in processor time with the interpreter's own start. And
the longest alto.yaml, every key of it checked, beside PyYAML's reading of the same text. Exit code 1 if a median misses
its bar.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import yaml

from appliance.settings import reference
from appliance.settings.load import load
from tests.test_start import SDK, STATION, said

ROUNDS: Final = 15
BAR_MS: Final = 150.0
FILE_BAR_MS: Final = 30.0


def processor_ms(code: str) -> float:
    return 1000 * float(said(f"{code}; import time; print(time.process_time())"))


def main() -> int:
    return max([code(), file()])


def code() -> int:
    rounds = [(processor_ms(STATION), processor_ms(SDK)) for _ in range(ROUNDS)]
    station, sdk = medians(rounds)
    own = statistics.median(one - other for one, other in rounds)
    print(
        f"a station {station:.0f} ms, the SDK alone {sdk:.0f} ms: {station / sdk:.2f} of it, "
        f"{own:+.0f} ms (bar {BAR_MS:.0f})"
    )
    return int(own > BAR_MS)


def file() -> int:
    text = reference.render()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "alto.yaml"
        path.write_text(text)
        rounds = [(took_ms(lambda: load(path, env={})), took_ms(lambda: yaml.safe_load(text))) for _ in range(ROUNDS)]
    ours, peer = medians(rounds)
    print(
        f"alto.yaml with every key {ours:.1f} ms, PyYAML alone {peer:.1f} ms: {ours / peer:.2f} of it "
        f"(bar {FILE_BAR_MS:.0f} ms)"
    )
    return int(ours > FILE_BAR_MS)


def took_ms(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return 1000 * (time.process_time() - begin)


def medians(rounds: list[tuple[float, float]]) -> tuple[float, float]:
    one, other = (statistics.median(column) for column in zip(*rounds, strict=True))
    return one, other


if __name__ == "__main__":
    sys.exit(main())
