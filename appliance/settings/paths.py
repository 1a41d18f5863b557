"""Where alto keeps what it makes: sockets while it runs, keys and last-known-good files for longer.

systemd's directories win (RUNTIME_DIRECTORY, STATE_DIRECTORY), then root's, then the user's (XDG).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from appliance.settings.model import Settings


def runtime_dir(env: Mapping[str, str] = os.environ) -> Path:
    """For sockets; gone after a reboot. Not created here."""
    if given := env.get("RUNTIME_DIRECTORY"):
        return Path(given.split(":")[0])
    if os.geteuid() == 0:
        return Path("/run/alto")
    return Path(env.get("XDG_RUNTIME_DIR") or f"/tmp/alto-{os.geteuid()}") / "alto"  # noqa: S108 (checked by its maker)


def state_dir(env: Mapping[str, str] = os.environ) -> Path:
    """For generated keys and last-known-good files; survives a reboot. Not created here."""
    if given := env.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if os.geteuid() == 0:
        return Path("/var/lib/alto")
    return Path(env.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "alto"


def file_stem(identity: str) -> str:
    """The identity as a file name that no directory can be smuggled into."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", identity).lstrip(".") or "_"


def status_socket(settings: Settings, env: Mapping[str, str] = os.environ) -> Path:
    """The Unix socket of the station that runs with these settings."""
    return settings.status.socket or runtime_dir(env) / f"{file_stem(settings.identity)}.sock"
