"""An alto that finds itself too large at once: `python -m tests.faults.grown run -c FILE`.

Only the hour between two restarts and the quiet minute are shortened, and only in the process that is started first:
the one that takes its place has alto's own.
"""

from __future__ import annotations

import os
import sys

from appliance import afresh, restart
from appliance.cli import main

QUIET_S = 1.0

if __name__ == "__main__":
    if afresh.MARK not in os.environ:
        restart.APART_S = 0.0  # type: ignore[misc]
        restart.QUIET_S = QUIET_S  # type: ignore[misc]
    sys.exit(main())
