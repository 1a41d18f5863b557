"""`LiveKitNetworkManager`: one session with the room, both ways of its audio, and what it measured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import structlog

from appliance.errors import NetworkError
from appliance.network.capture import CapturePump
from appliance.network.streams import RemoteStreams
from appliance.network.watch import LinkWatch
from appliance.ports import Clock, FrameSource, Knock, Link, LinkStats, RemoteVoice, RoomConnection, VoiceSink

log = structlog.get_logger()

CONNECT_S: Final = 10.0  # for callers that do not say; the setting's default


class SessionState(StrEnum):
    """How far the session is."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


class LiveKitNetworkManager:
    """Connects once, publishes, receives, and says when and why it is over (`ports.RoomListener`). Loop thread."""

    def __init__(
        self,
        *,
        room_factory: Callable[[], RoomConnection],
        sink: VoiceSink,
        frames: FrameSource | None,
        sample_rate: int,
        max_streams: int,
        clock: Clock,
        knock: Knock,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`frames` None makes a listen-only session. `max_streams`: see `set_max_streams`. `on_change` is called after
        `link` may have changed."""
        self.state = SessionState.IDLE
        self.error: Exception | None = None
        """Why the session ended; None while it runs, and after `disconnect()`."""
        self.closed = asyncio.Event()
        """Set when the session is over, whoever ended it."""
        self.reconnects = 0
        self._room_factory = room_factory
        self._frames = frames
        self._sample_rate = sample_rate
        self._max_streams = max_streams
        self._clock = clock
        self._knock = knock
        self._on_change = on_change
        self._streams = RemoteStreams(sink=sink, clock=clock)
        self._url = ""
        self._room: RoomConnection | None = None
        self._watch: LinkWatch | None = None
        self._pump: CapturePump | None = None
        self._closing: asyncio.Task[None] | None = None
        self._identities: set[str] = set()

    # ---- what the orchestrator calls ---------------------------------------------------------------------------

    async def connect(self, url: str, token: str, *, deadline_s: float = CONNECT_S) -> None:
        """Join the room. Once. Raises Unreachable, Rejected, AttemptTimedOut."""
        if self.state is not SessionState.IDLE:
            raise RuntimeError("a session connects once: make a new one")
        self.state = SessionState.CONNECTING
        self._url = url
        room = self._room_factory()
        room.set_max_streams(self._max_streams)
        self._room = room
        try:
            await room.connect(url, token, self, deadline_s=deadline_s)
        except BaseException:
            self._close(None)
            raise
        if self.state is SessionState.CLOSED:  # it ended at the very moment of joining
            raise self.error or NetworkError("disconnected while connecting")
        self._watch = LinkWatch(
            stats=room.stats,
            sent=self._frames_out,
            clock=self._clock,
            on_change=self._on_change,
            on_mute=self._close,
        )
        self._watch.start()
        self._enter(SessionState.CONNECTED)

    async def publish(self) -> None:
        """Publish the microphone and start to feed it; nothing in a listen-only session. Raises NetworkError."""
        if self._frames is None:
            return
        room = self._live_room()
        await room.publish_microphone(rate_hz=self._sample_rate)
        self._pump = CapturePump(
            frames=self._frames,
            send=room.send,
            sample_rate=self._sample_rate,
            clock=self._clock,
            on_failure=self._close,
        )
        self._pump.start()

    def set_max_streams(self, most: int) -> None:
        """Play so many voices at once, at most; the others are parked."""
        self._max_streams = most
        if self._room is not None:
            self._room.set_max_streams(most)

    async def disconnect(self) -> None:
        """Leave and free everything. Idempotent, bounded to some two seconds, never raises."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._leave(), name="session-leave")
        await asyncio.shield(self._closing)

    async def _leave(self) -> None:
        self._close(None)
        if self._watch is not None:
            await self._watch.close()
        if self._pump is not None:
            await self._pump.close()
        await self._streams.close()
        if self._room is not None:
            await self._room.disconnect()

    def _live_room(self) -> RoomConnection:
        if self._room is None or self.state is SessionState.CLOSED:
            raise self.error or NetworkError("the session is not connected")
        return self._room

    async def knock(self) -> None:
        """See `ports.Session.knock`."""
        await self._knock(self._url)

    # ---- what it is like ---------------------------------------------------------------------------------------

    @property
    def link(self) -> Link:
        """The supervisor's view of `state` and of what arrives."""
        if self.state in (SessionState.IDLE, SessionState.CONNECTING, SessionState.CLOSED):
            return Link.CLOSED
        return Link.RECOVERING if self.recovering_why else Link.UP

    @property
    def recovering_why(self) -> str:
        """See `ports.Session.recovering_why`."""
        if self.state is SessionState.RECONNECTING:
            return "connection_lost"
        stalled = self.state is SessionState.CONNECTED and self._watch is not None and self._watch.is_stalled
        return "media_stalled" if stalled else ""

    @property
    def participants(self) -> tuple[str, ...]:
        """Identities of the others. Who joins without publishing shows up to 3 s late (the server batches them)."""
        return self._room.participants if self._room is not None else ()

    @property
    def parked(self) -> tuple[str, ...]:
        """Identities of those who are not played: see `set_max_streams`."""
        return self._room.parked if self._room is not None else ()

    def _frames_out(self) -> int | None:
        return None if self._pump is None else self._pump.frames_sent + self._pump.silence_frames

    def get_metrics(self) -> dict[str, object]:
        """Counters of this session, and the link as it was a second ago at most."""
        link, pump = self._watch.link if self._watch is not None else LinkStats(), self._pump
        return {
            "state": self.state.value,
            "participants": len(self.participants),
            "streams": len(self._streams.names),
            "parked": len(self.parked),
            "frames_sent": pump.frames_sent if pump else 0,
            "silence_frames": pump.silence_frames if pump else 0,
            "frames_received": self._streams.frames_received,
            "frames_dropped": self._streams.frames_dropped,
            "rtt_ms": _rounded(link.rtt_ms, 1),
            "loss_in_ratio": _rounded(link.loss_in_ratio, 4),
            "loss_out_ratio": _rounded(link.loss_out_ratio, 4),
            "jitter_buffer_ms": _rounded(link.jitter_buffer_ms, 1),
            "concealment_ratio": _rounded(link.concealment_ratio, 4),
            "reconnects": self.reconnects,
            "path": link.path,
        }

    # ---- what the room tells -----------------------------------------------------------------------------------

    def on_participant_joined(self, identity: str) -> None:
        """See `ports.RoomListener`."""
        self._identities.add(identity)
        log.info("participant.joined", identity=identity, participants=len(self._identities))

    def on_participant_left(self, identity: str) -> None:
        """See `ports.RoomListener`."""
        self._identities.discard(identity)
        log.info("participant.left", identity=identity, participants=len(self._identities))

    def on_voice(self, voice: RemoteVoice) -> None:
        """See `ports.RoomListener`."""
        self._streams.open(voice)

    def on_voice_gone(self, sid: str) -> None:
        """See `ports.RoomListener`."""
        self._streams.drop(sid)

    def on_reconnecting(self) -> None:
        """See `ports.RoomListener`."""
        if self.state is not SessionState.RECONNECTING:
            self._enter(SessionState.RECONNECTING)

    def on_reconnected(self) -> None:
        """See `ports.RoomListener`."""
        self.reconnects += 1
        if self._watch is not None:
            self._watch.begin_anew()
        self._enter(SessionState.CONNECTED)

    def on_closed(self, error: Exception) -> None:
        """See `ports.RoomListener`."""
        self._close(error)

    def _close(self, error: Exception | None) -> None:
        """The session is over; `error` None when we ended it."""
        if self.state is SessionState.CLOSED:
            return
        self.error = error
        self._streams.shut()
        self.closed.set()
        self._enter(SessionState.CLOSED)

    def _enter(self, state: SessionState) -> None:
        self.state = state
        self._on_change()


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
