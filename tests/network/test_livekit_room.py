"""The real room, where the SDK does what no server makes it do."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from livekit import rtc

from appliance.errors import ServerClosed, Stalled
from appliance.network.knock import knock
from appliance.network.livekit_room import LiveKitRoom
from appliance.network.sender import SAID_S, SEND_TIMEOUT_S
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


@pytest.mark.server
@pytest.mark.slow
def test_a_goodbye_waits_until_the_server_has_said_all_of_a_new_track(livekit_server: LiveKitServer) -> None:
    """It would not hear it now and then, and show us to the others for 21 s."""

    async def story() -> None:
        loop, room = asyncio.get_running_loop(), LiveKitRoom(sample_rate=48_000)
        await room.connect(livekit_server.url, livekit_server.token("kitchen", "goodbye"), Listener(), deadline_s=5)
        assert room._sender.said_in_s == 0.0, "nothing was published"
        began_s = loop.time()
        await room.publish_microphone(rate_hz=48_000)
        await room.disconnect()
        assert loop.time() - began_s >= SAID_S
        assert room._sender.said_in_s == 0.0

    run(story())


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("direct", [True, False])
def test_an_encoder_that_takes_nothing_is_told_and_frames_go_on_when_it_does(
    livekit_server: LiveKitServer, monkeypatch: pytest.MonkeyPatch, direct: bool
) -> None:
    """`direct`: past the SDK's queue. The encoder is made to look so; it has never been seen to."""
    frame = np.zeros(480, np.int16)

    async def never(_frame: Any) -> None:
        await asyncio.Event().wait()

    async def story() -> None:
        room = LiveKitRoom(sample_rate=48_000, direct=direct)
        await room.connect(livekit_server.url, livekit_server.token("kitchen", "stuck"), Listener(), deadline_s=5)
        await room.publish_microphone(rate_hz=48_000)
        await room.send(frame)
        sender = room._sender
        with monkeypatch.context() as patched:
            if sender._microphone is not None:
                microphone = sender._microphone
                await until_async(lambda: not microphone.busy, 3.0, "the first frame to be taken")
                patched.setattr(microphone, "busy", True)
            else:
                patched.setattr(sender._source, "capture_frame", never)
            with pytest.raises(Stalled, match="took no frame"):
                await asyncio.wait_for(room.send(frame), SEND_TIMEOUT_S + 2.0)
        for _ in range(3):
            await room.send(frame)
        await room.disconnect()

    run(story())
