"""What stands in front of the SDK's event queue: what it takes out, what it leaves alone, one frame at a time."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from livekit.rtc._proto.ffi_pb2 import FfiEvent, FfiRequest

from appliance.errors import NetworkError
from appliance.network.crossing import Crossing, Microphone
from appliance.ports import Samples
from tests.harness.aio import run

FRAME = np.arange(480, dtype=np.int16)
VOICE, OTHER = SimpleNamespace(_ffi_handle=SimpleNamespace(handle=7)), 8


class Client:
    """As much of the SDK's `FfiClient` as is used."""

    def __init__(self) -> None:
        self.freed: list[int] = []
        self.passed: list[FfiEvent] = []
        self.queue = SimpleNamespace(put=self.passed.append)
        self.asked: list[FfiRequest] = []
        self.refuses = False
        self._ffi_lib = SimpleNamespace(livekit_ffi_request=self._answer, livekit_ffi_drop_handle=self.freed.append)

    def _answer(self, data: Any, size: int, *_answer: Any) -> int:
        self.asked.append(FfiRequest.FromString(ctypes.string_at(data, size)))
        return 0 if self.refuses else len(self.asked)

    def tell_frame(self, handle: int, frame: Samples, buffer: int) -> None:
        event = FfiEvent()
        event.audio_stream_event.stream_handle = handle
        news = event.audio_stream_event.frame_received.frame
        news.handle.id = buffer
        news.info.data_ptr, news.info.num_channels, news.info.samples_per_channel = frame.ctypes.data, 1, frame.size
        self.queue.put(event)


def test_a_frame_goes_to_who_wants_it_its_memory_is_freed_and_nothing_passes_on() -> None:
    client, got = Client(), []
    Crossing(client, FfiRequest).deliver(VOICE, got.append)
    client.tell_frame(7, FRAME, buffer=70)
    assert [frame.tolist() for frame in got] == [FRAME.tolist()]
    assert client.freed == [70]
    assert client.passed == []


def test_what_nobody_asked_for_passes_on_and_so_does_a_stream_s_end() -> None:
    client, got = Client(), []
    withdraw = Crossing(client, FfiRequest).deliver(VOICE, got.append)
    client.tell_frame(OTHER, FRAME, buffer=80)
    end = FfiEvent()
    end.audio_stream_event.stream_handle = 7
    end.audio_stream_event.eos.SetInParent()
    client.queue.put(end)
    withdraw()
    client.tell_frame(7, FRAME, buffer=70)
    foreign = FfiEvent()
    foreign.capture_audio_frame.async_id = 1
    client.queue.put(foreign)
    assert (got, client.freed, len(client.passed)) == ([], [], 4)


def test_another_sdk_is_noticed_before_anything_is_changed() -> None:
    client = SimpleNamespace(queue=SimpleNamespace())
    with pytest.raises(AttributeError):
        Crossing(client, FfiRequest)
    assert vars(client.queue) == {}


def test_a_stream_or_a_source_of_another_sdk_goes_the_public_way() -> None:
    crossing, other = Crossing(Client(), FfiRequest), SimpleNamespace(sample_rate=48_000)
    assert crossing.deliver(other, print) is None
    assert crossing.microphone(other, 480) is None


def test_the_server_is_asked_to_send_a_track_or_nothing_of_it() -> None:
    client = Client()
    crossing = Crossing(client, FfiRequest)
    crossing.let_flow(VOICE, False)
    crossing.let_flow(VOICE, True)
    wishes = [request.enable_remote_track_publication for request in client.asked]
    assert [(wish.track_publication_handle, wish.enabled) for wish in wishes] == [(7, False), (7, True)]
    assert client.freed == [1, 2], "the answers"
    crossing.let_flow(SimpleNamespace(), False)
    Crossing(client, SimpleNamespace).let_flow(VOICE, False)
    assert len(client.asked) == 2, "another SDK is asked for nothing"


def test_a_microphones_request_is_the_same_each_time_and_a_refusal_is_told() -> None:
    async def story() -> None:
        client = Client()
        source = SimpleNamespace(_ffi_handle=SimpleNamespace(handle=5), sample_rate=48_000)
        microphone = Crossing(client, FfiRequest).microphone(source, FRAME.size)
        assert microphone is not None
        for _ in range(2):
            await microphone.send(FRAME)
            microphone.taken("")
        first, second = (request.capture_audio_frame for request in client.asked)
        assert first == second
        assert (first.source_handle, first.buffer.samples_per_channel) == (5, FRAME.size)
        assert ctypes.string_at(first.buffer.data_ptr, FRAME.nbytes) == FRAME.tobytes()
        client.refuses = True
        with pytest.raises(NetworkError, match="refused"):
            await microphone.send(FRAME)

    run(story())


def test_a_frame_waits_until_the_one_before_was_taken() -> None:
    async def story() -> None:
        buffer, asked = np.zeros(480, np.int16), []
        microphone = Microphone(buffer, lambda: asked.append(int(buffer[0])))
        await microphone.send(np.full(480, 1, np.int16))
        second = asyncio.create_task(microphone.send(np.full(480, 2, np.int16)))
        await asyncio.sleep(0)
        assert (asked, int(buffer[0])) == ([1], 1)
        threading.Thread(target=microphone.taken, args=("",)).start()
        await second
        assert asked == [1, 2]

    run(story())


def test_what_befell_a_frame_is_told_by_the_next_and_only_once() -> None:
    async def story() -> None:
        microphone = Microphone(np.zeros(480, np.int16), lambda: None)
        await microphone.send(FRAME)
        microphone.taken("no track")
        with pytest.raises(NetworkError, match="no track"):
            await microphone.send(FRAME)
        await microphone.send(FRAME)

    run(story())
