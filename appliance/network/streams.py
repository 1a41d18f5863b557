"""The way in: each remote voice's frames into the mixer, one stream a track."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import structlog

from appliance.ports import Clock, RemoteVoice, Samples, VoiceSink

log = structlog.get_logger()

CLOSE_TIMEOUT_S: Final = 1.0  # a voice closes in a millisecond; its own bound is 0.5 s


def stream_id(voice: RemoteVoice) -> str:
    """The participant's identity for its microphone, `identity/sid` for anything else that it publishes."""
    return voice.identity if voice.is_microphone else f"{voice.identity}/{voice.sid}"


@dataclass(eq=False)
class _Stream:
    voice: RemoteVoice
    name: str
    opened_s: float
    frames: int = 0
    task: asyncio.Task[None] | None = None
    over: bool = False
    writing: threading.Lock = field(default_factory=threading.Lock)
    """Held while a frame is written: one that comes late must not sound in the stream that took this one's name."""


class RemoteStreams:
    """Owns every voice that it was given: has its frames written, closes it, and forgets it. Loop thread, but for the
    frames: they come on the SDK's threads where it can do that, and never wait for the loop."""

    def __init__(self, *, sink: VoiceSink, clock: Clock) -> None:
        self._sink = sink
        self._clock = clock
        self._streams: dict[str, _Stream] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._frames_before = 0
        self._dropped_before = 0
        self._shut = False

    @property
    def names(self) -> tuple[str, ...]:
        """Stream ids that play now."""
        return tuple(stream.name for stream in self._streams.values())

    @property
    def frames_received(self) -> int:
        return self._frames_before + sum(stream.frames for stream in self._streams.values())

    @property
    def frames_dropped(self) -> int:
        """Frames that came and were not fetched in time: the event loop was busy for more than 100 ms."""
        return self._dropped_before + sum(stream.voice.dropped_frames for stream in self._streams.values())

    def open(self, voice: RemoteVoice) -> None:
        """Start to play `voice`. One that plays under the same name is replaced: its track came anew."""
        name = stream_id(voice)
        for sid, playing in list(self._streams.items()):
            if playing.name == name:
                self.drop(sid)
        stream = _Stream(voice, name, self._clock.monotonic())
        if self._shut:  # it came while we left
            self._end_later(stream)
            return
        self._streams[voice.sid] = stream
        self._sink.open_stream(name, owner=voice.identity)
        if not voice.deliver(partial(self._write, stream)):
            stream.task = asyncio.get_running_loop().create_task(self._pump(stream), name=f"voice {name}")
        log.info("stream.started", identity=voice.identity, stream=name)

    def drop(self, sid: str) -> None:
        """Stop to play a track; nothing happens when it does not play. Its tasks end in the background."""
        stream = self._streams.pop(sid, None)
        if stream is None:
            return
        with stream.writing:
            stream.over = True
        self._sink.remove_stream(stream.name)
        self._frames_before += stream.frames
        self._dropped_before += stream.voice.dropped_frames
        self._log_stop(stream)
        self._end_later(stream)

    def shut(self) -> None:
        """Drop everything, and whatever else may come."""
        self._shut = True
        for sid in list(self._streams):
            self.drop(sid)

    async def close(self) -> None:
        """`shut()`, and wait until all has ended. Idempotent, bounded, never raises."""
        self.shut()
        if self._leaving:
            await asyncio.wait(set(self._leaving), timeout=CLOSE_TIMEOUT_S)

    async def _pump(self, stream: _Stream) -> None:
        try:
            async for samples in stream.voice.frames():
                self._write(stream, samples)
        except Exception:
            log.exception("stream.failed", identity=stream.voice.identity, stream=stream.name)

    def _write(self, stream: _Stream, samples: Samples) -> None:
        """On any thread."""
        with stream.writing:
            if stream.over:
                return
            try:
                self._sink.add_audio_data(samples, stream_id=stream.name)
                stream.frames += 1
            except Exception:
                stream.over = True
                log.exception("stream.failed", identity=stream.voice.identity, stream=stream.name)

    def _end_later(self, stream: _Stream) -> None:
        task = asyncio.get_running_loop().create_task(self._end(stream), name=f"voice-end {stream.name}")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _end(self, stream: _Stream) -> None:
        await stream.voice.aclose()
        if stream.task is not None:
            stream.task.cancel()
            await asyncio.wait({stream.task})

    def _log_stop(self, stream: _Stream) -> None:
        log.info(
            "stream.stopped",
            identity=stream.voice.identity,
            stream=stream.name,
            seconds=round(self._clock.monotonic() - stream.opened_s, 1),
            frames=stream.frames,
        )
