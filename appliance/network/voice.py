"""One remote voice: the SDK's audio stream with a bounded queue that counts, and an end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import numpy as np

from appliance.network import natives
from appliance.network.crossing import Crossing
from appliance.ports import Samples

CLOSE_TIMEOUT_S: Final = 0.5  # 1 ms measured


class CountingQueue:
    """Stands in for the SDK's own frame queue, which drops the oldest without a word. Loop thread."""

    def __init__(self, capacity: int) -> None:
        self.dropped = 0
        self._items: deque[Any] = deque(maxlen=capacity)
        self._more = asyncio.Event()

    def put(self, item: Any) -> None:
        """Append; the oldest goes when the queue is full, and is counted."""
        self.dropped += len(self._items) == self._items.maxlen
        self._items.append(item)
        self._more.set()

    async def get(self) -> Any:
        """The oldest item, as soon as there is one."""
        while not self._items:
            self._more.clear()
            await self._more.wait()
        return self._items.popleft()


class SdkVoice:
    """One subscribed audio track (`ports.RemoteVoice`)."""

    def __init__(
        self,
        stream: Any,
        queue: CountingQueue,
        *,
        sid: str,
        identity: str,
        is_microphone: bool,
        crossing: Crossing | None = None,
    ) -> None:
        """`stream`: an `rtc.AudioStream` of mono int16 whose frames go through `queue`, or past it by `crossing`."""
        self.sid = sid
        self.identity = identity
        self.is_microphone = is_microphone
        self._stream = stream
        self._queue = queue
        self._crossing = crossing
        self._withdraw: Callable[[], None] | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def dropped_frames(self) -> int:
        """How many frames went because nobody read them within 100 ms."""
        return self._queue.dropped

    async def frames(self) -> AsyncIterator[Samples]:
        """See the port."""
        async for event in self._stream:
            yield np.frombuffer(event.frame.data, dtype=np.int16)

    def deliver(self, take: Callable[[Samples], None]) -> bool:
        """See the port."""
        if self._crossing is None or self._closing is not None:
            return False
        self._withdraw = self._crossing.deliver(self._stream, take)
        return self._withdraw is not None

    async def aclose(self) -> None:
        """See the port."""
        if self._withdraw is not None:
            self._withdraw()
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close(), name=f"voice-close {self.sid}")
        await asyncio.wait({self._closing}, timeout=CLOSE_TIMEOUT_S)

    async def _close(self) -> None:
        await natives.leave(self._stream.aclose(), deadline_s=CLOSE_TIMEOUT_S)
        self._queue.put(None)  # ends `frames()` even when the native end-of-stream never comes
