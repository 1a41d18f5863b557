"""The real room, where the SDK does what no server makes it do."""

from __future__ import annotations

import pytest
from livekit import rtc

from appliance.errors import ServerClosed
from appliance.network.knock import knock
from appliance.network.livekit_room import LiveKitRoom
from tests.contracts.rooms import Listener
from tests.harness.aio import run
from tests.harness.server import LiveKitServer
from tests.harness.wait import until_async


@pytest.mark.server
@pytest.mark.slow
def test_http_and_ws_name_the_same_server(livekit_server: LiveKitServer) -> None:
    """Many write down the address of a server's API."""

    async def story() -> None:
        url = livekit_server.url.replace("ws:", "http:")
        assert (await knock(url)).took_s < 5
        room, listener = LiveKitRoom(sample_rate=48_000), Listener()
        await room.connect(url, livekit_server.token("kitchen", "by-http"), listener, deadline_s=5)
        await room.disconnect()

    run(story())


@pytest.mark.server
@pytest.mark.slow
def test_a_session_that_ends_without_a_reason_is_told_to_be_over(livekit_server: LiveKitServer) -> None:
    async def story() -> None:
        room, listener = LiveKitRoom(sample_rate=48_000), Listener()
        await room.connect(livekit_server.url, livekit_server.token("kitchen", "untold"), listener, deadline_s=5)
        room._room.emit("connection_state_changed", rtc.ConnectionState.CONN_DISCONNECTED)
        await until_async(lambda: listener.closed_by, 3.0, "the end of the session")
        assert isinstance(listener.closed_by, ServerClosed)
        await room.disconnect()

    run(story())
