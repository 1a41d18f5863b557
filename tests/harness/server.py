"""A real LiveKit server, for tests that make calls, kill it, freeze it and bring it back."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import yaml
from livekit import api

from tests.harness.netns import INTERFACE, Machine
from tests.harness.ports import free_ports
from tests.harness.processes import end, freeze, resume, spawn
from tests.harness.wait import until

BINARY_VARIABLE: Final = "ALTO_LIVEKIT_SERVER"
READY_S: Final = 15.0  # it answers after 0.3 s on an idle machine; a busy one has two cores for everybody
TRIES: Final = 3  # another run may take a port between our asking and the server's binding


def find_binary() -> Path:
    """The server to run: $ALTO_LIVEKIT_SERVER, beside this Python, on PATH. Fails with what to do."""
    beside = Path(sys.executable).parent / "livekit-server"
    for candidate in (os.environ.get(BINARY_VARIABLE), beside, shutil.which("livekit-server")):
        if candidate and os.access(candidate, os.X_OK):
            return Path(candidate)
    raise FileNotFoundError(f"no livekit-server: run deploy/dev setup, or name one in {BINARY_VARIABLE}")


class LiveKitServer:
    """One server with ports and keys of its own; they stay the same when it is started again.

    It lives on 127.0.0.1, or on `machine` of a network that a test made. Other keys are taken up by the next start.
    """

    def __init__(self, machine: Machine | None = None) -> None:
        self.api_key = f"test{secrets.token_hex(8)}"
        self.api_secret = secrets.token_urlsafe(36)
        self.host: Final = machine.address if machine else "127.0.0.1"
        self._machine: Final = machine
        self._directory: Final = tempfile.TemporaryDirectory(prefix="alto-server-")
        self._process: subprocess.Popen[bytes] | None = None
        self._take_ports()

    def _take_ports(self) -> None:
        self.port, self._tcp_port, self._udp_port, self._stun_port = free_ports(4)

    @property
    def url(self) -> str:
        return f"ws://{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        """Of the running server."""
        assert self._process is not None, "the server was not started"
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server wrote so far."""
        path = Path(self._directory.name, "server.log")
        return path.read_text(errors="replace") if path.exists() else ""

    def token(
        self,
        identity: str,
        room: str = "home",
        *,
        ttl_s: float = 3600.0,
        name: str = "",
        **grants: object,
    ) -> str:
        """A token that lets `identity` join `room`; `grants` override fields of livekit.api.VideoGrants."""
        video = api.VideoGrants(**{"room_join": True, "room": room, "can_update_own_metadata": True, **grants})  # type: ignore[arg-type]
        token = api.AccessToken(self.api_key, self.api_secret).with_identity(identity).with_name(name or identity)
        return token.with_ttl(timedelta(seconds=ttl_s)).with_grants(video).to_jwt()

    # ---- life --------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start and wait until it answers. Again after kill() or terminate(): same port, same keys."""
        first = self._process is None
        for attempt in range(TRIES):
            self._launch()
            try:
                until(self._answers_or_ended, READY_S, lambda: f"livekit-server on {self.url}; its log:\n{self.log}")
                return self
            except EndedEarly:
                if attempt == TRIES - 1 or not first:
                    raise
                self._take_ports()
        raise AssertionError("unreachable")

    def kill(self) -> None:
        """SIGKILL, as a power cut."""
        if self._process is not None:
            resume(self._process.pid)
            end(self._process)

    def terminate(self) -> None:
        """Shut down as an administrator would: SIGTERM, and again for what still waits for participants."""
        if self._process is not None:
            resume(self._process.pid)
            end(self._process, (signal.SIGTERM, 0.5), (signal.SIGTERM, 5.0))

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, as behind a dead cable."""
        freeze(self.pid)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        resume(self.pid)

    def close(self) -> None:
        """Kill it and remove its files. Idempotent."""
        self.kill()
        self._directory.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    # ---- steps -------------------------------------------------------------------------------------------------

    def _launch(self) -> None:
        directory = Path(self._directory.name)
        config = directory / "livekit.yaml"
        config.touch(mode=0o600)
        config.write_text(yaml.safe_dump(self._config()))
        with (directory / "server.log").open("ab") as log:
            inside = self._machine.words if self._machine else ()
            self._process = spawn([*inside, find_binary(), "--config", config], stdout=log, stderr=log)

    def _config(self) -> dict[str, object]:
        return {
            "port": self.port,
            "bind_addresses": [self.host],
            "keys": {self.api_key: self.api_secret},
            "logging": {"level": "info", "json": True},
            "rtc": {
                "node_ip": self.host,
                "enable_loopback_candidate": self._machine is None,
                "interfaces": {"includes": [INTERFACE if self._machine else "lo"]},
                "use_external_ip": False,
                "tcp_port": self._tcp_port,
                "udp_port": self._udp_port,
                # Nobody listens there: it keeps the clients from asking a public server for their address.
                "stun_servers": [f"{self.host}:{self._stun_port}"],
            },
        }

    def _answers_or_ended(self) -> bool:
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            raise EndedEarly(f"livekit-server ended at once with {code}; its log:\n{self.log}")
        return self._machine.run(self._answers) if self._machine else self._answers()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.port}/", timeout=1.0) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


class EndedEarly(Exception):
    """The server did not come up."""
