"""What the embedded server is started with: keys that are made once, and its configuration."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

import yaml

from appliance.settings.files import Unreadable, read_small_file, write_private
from appliance.settings.model import EmbeddedServer as EmbeddedSettings

LOOPBACK: Final = "127.0.0.1"
STUN_PORT: Final = 3478  # nobody listens there: it keeps clients from asking a public server for their address
SECRET_BYTES: Final = 32
LIMIT_BYTES: Final = 4096  # ours have a few hundred


class ServerFiles:
    """Files of one folder, each 0600. What is there and still right is left alone: a full disk is no matter then."""

    def __init__(self, folder: Path, settings: EmbeddedSettings) -> None:
        self.api_key_file: Final = folder / "api_key"
        self.api_secret_file: Final = folder / "api_secret"
        self.config: Final = folder.absolute() / "livekit.yaml"
        """Named on the server's command line, by which a server is known as ours."""
        self._folder = folder
        self._settings = settings

    def write(self) -> Path:
        """Make what is missing; returns `config`. Raises Unreadable, OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = _kept_or_fresh(self.api_key_file, "API" + secrets.token_hex(6))
        secret = _kept_or_fresh(self.api_secret_file, secrets.token_urlsafe(SECRET_BYTES))
        config = yaml.safe_dump(self._content(key, secret))
        if _read(self.config) != config:
            write_private(self.config, config.encode())
        return self.config

    def _content(self, key: str, secret: str) -> dict[str, object]:
        settings = self._settings
        return {
            "port": settings.port,
            "bind_addresses": [LOOPBACK],
            "keys": {key: secret},
            "logging": {"level": "info", "json": True},
            "rtc": {
                "node_ip": LOOPBACK,
                "enable_loopback_candidate": True,
                "interfaces": {"includes": ["lo"]},
                "use_external_ip": False,
                # None: it would listen on every address of the machine, and UDP always works on loopback.
                "tcp_port": 0,
                "udp_port": settings.rtc_udp_port,
                "stun_servers": [f"{LOOPBACK}:{STUN_PORT}"],
            },
        }


def _kept_or_fresh(path: Path, fresh: str) -> str:
    """A file that a power cut emptied, or filled with anything, is as good as none: nobody else made or knows it."""
    kept = _read(path).strip()
    if kept and kept.isascii() and kept.isprintable():
        return kept
    write_private(path, f"{fresh}\n".encode())
    return fresh


def _read(path: Path) -> str:
    """The text of the file; empty when there is none."""
    try:
        data, _ = read_small_file(path, limit_bytes=LIMIT_BYTES)
    except Unreadable as error:
        if path.exists():
            raise Unreadable(f"{path}: found {error.found}", error.fix) from error
        return ""
    return data.decode(errors="replace")
