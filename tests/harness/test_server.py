"""The test server behaves as the scenarios need it."""

from __future__ import annotations

import stat
import urllib.request
from pathlib import Path

import pytest

from tests.harness.processes import is_running
from tests.harness.server import LiveKitServer

pytestmark = [pytest.mark.server, pytest.mark.slow]


def test_it_comes_back_on_the_same_address_after_a_power_cut(fresh_livekit_server: LiveKitServer) -> None:
    server = fresh_livekit_server
    before = (server.url, server.pid)
    server.kill()
    assert not is_running(before[1])
    server.start()
    assert server.url == before[0]
    assert server.pid != before[1]
    assert answers(server)


def test_a_frozen_server_is_silent_and_goes_on_when_thawed(fresh_livekit_server: LiveKitServer) -> None:
    fresh_livekit_server.freeze()
    assert not answers(fresh_livekit_server)
    fresh_livekit_server.thaw()
    assert answers(fresh_livekit_server, patience_s=5.0)


def test_it_shuts_down_in_order_even_when_frozen(fresh_livekit_server: LiveKitServer) -> None:
    pid = fresh_livekit_server.pid
    fresh_livekit_server.freeze()
    fresh_livekit_server.terminate()
    assert not is_running(pid)


def test_two_servers_do_not_meet_and_keep_their_keys_to_themselves() -> None:
    with LiveKitServer() as one, LiveKitServer() as other:
        assert one.url != other.url
        assert one.api_secret != other.api_secret
        assert min(len(one.api_secret), len(other.api_secret)) >= 32
        config = Path(one._directory.name, "livekit.yaml")
        assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert not config.exists()


def answers(server: LiveKitServer, patience_s: float = 0.2) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=patience_s) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
