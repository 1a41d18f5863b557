"""An alto that soon finds itself worn: `python -m tests.faults.grown run -c FILE`.

Only the hour between two restarts, the quiet minute and the half minute that a driver is waited for are shortened, and
only in the process that is started first: the one that takes its place has alto's own.
"""

from __future__ import annotations

import os
import sys

from appliance import afresh, restart
from appliance.cli import main

QUIET_S = 1.0
STUCK_S = 6.0  # the leg gives up on the driver after four: first that is told, then this

if __name__ == "__main__":
    if afresh.MARK not in os.environ:
        restart.APART_S = 0.0  # type: ignore[misc]
        restart.QUIET_S = QUIET_S  # type: ignore[misc]
        restart.STUCK_S = STUCK_S  # type: ignore[misc]
    sys.exit(main())
