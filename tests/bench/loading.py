"""What loading alto's own code costs beside the SDK that it loads: `python -m tests.bench.loading`, half a minute.

Processes in turn, in processor time with the interpreter's own start: a station as `alto run` loads it, and the SDK
alone as anybody loads it. Exit code 1 if the median of the differences misses the bar.
"""

from __future__ import annotations

import statistics
import sys
from typing import Final

from tests.test_start import SDK, STATION, said

ROUNDS: Final = 15
BAR_MS: Final = 150.0


def processor_ms(code: str) -> float:
    return 1000 * float(said(f"{code}; import time; print(time.process_time())"))


def main() -> int:
    rounds = [(processor_ms(STATION), processor_ms(SDK)) for _ in range(ROUNDS)]
    station, sdk = (statistics.median(column) for column in zip(*rounds, strict=True))
    own = statistics.median(one - other for one, other in rounds)
    print(
        f"a station {station:.0f} ms, the SDK alone {sdk:.0f} ms: {station / sdk:.2f} of it, "
        f"{own:+.0f} ms (bar {BAR_MS:.0f})"
    )
    return int(own > BAR_MS)


if __name__ == "__main__":
    sys.exit(main())
