"""Between the SDK's native threads and Python, past its event queue: the one file that uses private parts of it.

Publicly, each native event is offered to every subscriber, and each that fits wakes the event loop, where a task
fetches it: two wake-ups for each frame that comes in, three for each that goes out. `Crossing` stands in front of that
queue and takes out what is frequent: frames go from the native thread straight to who wants them, and that the encoder
took a frame is only noted. Everything else passes on, and so does all of it when the SDK (1.2.1) has changed: then
`find`, or the call for one stream or source, says None, and the public way is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import os
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np
import structlog

from appliance.errors import NetworkError
from appliance.ports import Samples

log = structlog.get_logger()

Take = Callable[[Samples], None]

_ids: Final = itertools.count(1 << 62)  # the native part counts its own requests up from 1
_kept: Final = threading.local()


@cache
def find() -> Crossing | None:
    """The process's one; None when the SDK has other private parts than are known here."""
    try:
        from livekit.rtc._ffi_client import FfiClient
        from livekit.rtc._proto import ffi_pb2

        return Crossing(FfiClient.instance, ffi_pb2.FfiRequest)
    except (ImportError, AttributeError) as err:
        _unknown(err)
        return None


def keep_to_one_thread() -> None:
    """Have the SDK's asynchronous part (Tokio) run on one thread, not one for each processor. Before it is first used.

    What comes on those threads calls Python, which lets one in at a time: several only wake and await each other. The
    SDK does the same by itself where there is one processor.
    """
    os.environ.setdefault("TOKIO_WORKER_THREADS", "1")


def _unknown(err: Exception) -> None:
    log.warning("crossing.unknown", reason=str(err))


class Crossing:
    """Stands in front of the SDK's event queue. `_put` runs on native threads, everything else on the loop."""

    def __init__(self, client: Any, new_request: Callable[[], Any]) -> None:
        """`client`: the SDK's `FfiClient`. Raises AttributeError when it is not as it was."""
        self._library = client._ffi_lib
        self._request, self._drop = self._library.livekit_ffi_request, self._library.livekit_ffi_drop_handle
        self._new_request = new_request
        self._takers: dict[int, Take] = {}
        self._microphones: dict[int, Microphone] = {}
        self._pass_on = client.queue.put
        client.queue.put = self._put

    def deliver(self, stream: Any, take: Take) -> Callable[[], None] | None:
        """Have `take` called with each frame of an `rtc.AudioStream`, on a native thread, one call at a time. Returns
        what ends that (a call may be under way then); None when the stream is not as it was."""
        try:
            handle = int(stream._ffi_handle.handle)
        except AttributeError as err:
            _unknown(err)
            return None
        self._takers[handle] = take

        def withdraw() -> None:
            self._takers.pop(handle, None)

        return withdraw

    def microphone(self, source: Any, frame_samples: int) -> Microphone | None:
        """A way into an `rtc.AudioSource` without a queue; None when that, or the request, is not as it was."""
        try:
            return self._microphone(source, frame_samples)
        except AttributeError as err:
            _unknown(err)
            return None

    def _microphone(self, source: Any, frame_samples: int) -> Microphone:
        buffer = np.zeros(frame_samples, np.int16)
        request, number = self._new_request(), next(_ids)
        capture = request.capture_audio_frame
        capture.source_handle = source._ffi_handle.handle
        capture.request_async_id = number
        capture.buffer.data_ptr = buffer.ctypes.data
        capture.buffer.sample_rate, capture.buffer.num_channels = source.sample_rate, 1
        capture.buffer.samples_per_channel = frame_samples
        microphone = Microphone(buffer, self._asker(request.SerializeToString()))
        self._microphones[number] = microphone
        return microphone

    def let_flow(self, publication: Any, flows: bool) -> None:
        """Have the server send a subscribed track's packets (again), or none: at once, without a new subscription. Does
        nothing when the request is not as it was. The SDK keeps what was asked, for as long as it has the track."""
        try:
            request = self._new_request()
            request.enable_remote_track_publication.track_publication_handle = publication._ffi_handle.handle
            request.enable_remote_track_publication.enabled = flows
            self._asker(request.SerializeToString())()
        except AttributeError as err:
            _unknown(err)
        except NetworkError:  # it left the room meanwhile: there is nothing to be sent
            return

    def forget(self, microphone: Microphone) -> None:
        """Nothing more will be said into it."""
        for number, known in list(self._microphones.items()):
            if known is microphone and not microphone.busy:  # else the native part may still read its frame
                del self._microphones[number]

    def _asker(self, words: bytes) -> Callable[[], None]:
        """Makes that request at each call, a hundred times a second for a microphone: its arguments are made once. The
        answer says nothing that is not known."""
        data = ctypes.cast(ctypes.c_char_p(words), ctypes.POINTER(ctypes.c_ubyte))
        answer, size = ctypes.POINTER(ctypes.c_ubyte)(), ctypes.c_size_t()
        arguments = (data, len(words), ctypes.byref(answer), ctypes.byref(size))

        def ask() -> None:
            handle = self._request(*arguments)
            if not handle:
                raise NetworkError("the SDK refused a request")
            self._drop(handle)

        return ask

    # ---- on a native thread --------------------------------------------------------------------------------------

    def _put(self, event: Any) -> None:
        _keep_thread()
        kind = event.WhichOneof("message")
        if kind == "audio_stream_event":
            news = event.audio_stream_event
            take = self._takers.get(news.stream_handle)
            if take is not None and news.HasField("frame_received"):
                self._hand_over(news.frame_received.frame, take)
                return
        elif kind == "capture_audio_frame":
            taken = event.capture_audio_frame
            microphone = self._microphones.get(taken.async_id)
            if microphone is not None:
                microphone.taken(taken.error)
                return
        self._pass_on(event)

    def _hand_over(self, frame: Any, take: Take) -> None:
        info = frame.info
        data = ctypes.string_at(info.data_ptr, info.num_channels * info.samples_per_channel * 2)
        self._drop(frame.handle.id)
        take(np.frombuffer(data, np.int16))


class Microphone:
    """One frame at a time to the encoder: the next waits until it has taken the one before."""

    def __init__(self, buffer: Samples, ask: Callable[[], None]) -> None:
        """`ask` has the native part read `buffer`, and `taken` called when it has."""
        self.busy = False
        """Whether the native part has not taken the last frame yet."""
        self._buffer = buffer
        self._ask = ask
        self._error = ""
        self._loop = asyncio.get_running_loop()
        self._awaited = False
        self._free = asyncio.Event()

    async def send(self, frame: Samples) -> None:
        """Hand over one frame, shape as the buffer's; waits for the one before, seldom. Raises NetworkError for what
        befell that."""
        if self.busy:
            await self._until_free()
        if self._error:
            error, self._error = self._error, ""
            raise NetworkError(f"the encoder refused a frame: {error}")
        np.copyto(self._buffer, frame)
        self.busy = True
        self._ask()

    async def _until_free(self) -> None:
        self._free.clear()
        self._awaited = True  # before the second look: whoever frees it looks the other way round
        try:
            if self.busy:
                await self._free.wait()
        finally:
            self._awaited = False

    def taken(self, error: str) -> None:
        """On a native thread: the frame was read; `error` empty when all went well."""
        self._error = error
        self.busy = False
        if self._awaited:
            with contextlib.suppress(RuntimeError):  # the loop closed meanwhile
                self._loop.call_soon_threadsafe(self._free.set)


def _keep_thread() -> None:
    """Keep what Python knows of this native thread. It forgets each as soon as a call from it is over, and allots and
    maps memory for it anew at the next, a hundred times a second for each voice."""
    if not hasattr(_kept, "here"):
        _kept.here = True
        ctypes.pythonapi.PyGILState_Ensure()  # one more than is ever released
