"""The real room, on livekit.rtc. Translates its events, errors and statistics.

What the SDK (livekit 1.2.1) does that shaped this file:

- `connect` is never cancelled: see `natives.py`.
- The SDK reconnects by itself and subscribes again by itself; when that fails it only logs and says `reconnected` all
  the same. So we look whether each subscribed track has its voice, and whether our own is sent (`sender.py`).
- An `AudioStream`'s iterator does not end when its track goes away: it must be closed.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import structlog
from livekit import rtc
from livekit.rtc._proto.participant_pb2 import DisconnectReason

from appliance.errors import NetworkError, ServerClosed
from appliance.network import crossing, explain, natives, sdk_log
from appliance.network import stats as counters
from appliance.network.renewal import Renewals
from appliance.network.seats import Seats
from appliance.network.sender import Sender, checked_rate
from appliance.network.voice import CLOSE_TIMEOUT_S, CountingQueue, SdkVoice
from appliance.ports import AUDIO_FRAME_MS, LinkStats, RoomListener, Samples

log = structlog.get_logger()

VOICE_QUEUE_FRAMES: Final = 10  # 100 ms; the oldest goes: a stalled loop must not turn into standing delay
SIGNAL_TIMEOUT_S: Final = 5.0  # the SDK's default for one of its four attempts: a dead first DNS server costs 5 s
STATS_TIMEOUT_S: Final = 1.0  # 1 ms measured
LEAVE_TIMEOUT_S: Final = 1.0  # 0.01 s measured, also while reconnecting
DOUBT_S: Final = 0.5  # a full reconnect begins with everybody "leaving"; `reconnecting` follows in the same breath
DISCONNECTED: Final = rtc.ConnectionState.CONN_DISCONNECTED  # each look at an enum of protobuf's takes some µs
UNTOLD_S: Final = 1.0  # between the SDK's end of a session and its reason lies one round of the loop


def pending_connects() -> int:
    """Native connects and leaves that have not ended, those of given-up attempts included."""
    return natives.unfinished()


class LiveKitRoom:
    """One session with a LiveKit server (`ports.RoomConnection`)."""

    def __init__(self, *, sample_rate: int, direct: bool = True) -> None:
        """`sample_rate` in Hz, of the frames that voices deliver. ValueError for one that the native code cannot do.
        `direct`: past the SDK's event queue, if that can be (`crossing.py`)."""
        self._rate_hz = checked_rate(sample_rate)
        self._room = rtc.Room()
        self._listener: RoomListener | None = None
        self._known: set[str] = set()
        self._voices: dict[str, SdkVoice] = {}
        self._seats = Seats(play=self._play, park=self._park)
        self._has_parked = False
        self._crossing = crossing.find() if direct else None
        self._sender = Sender(self._room, self._crossing, read=self._read)
        self._ended = False
        self._reconnecting = False
        self._mending: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._reading = counters.Reading()
        self._renewals = Renewals(
            find=self._find_track,
            publication=self._publication,
            is_heard=self._is_heard,
            on_failure=self._give_up,
        )

    # ---- joining ---------------------------------------------------------------------------------------------

    async def connect(self, url: str, token: str, listener: RoomListener, *, deadline_s: float) -> None:
        """Join; see the port. Measured on one machine: 0.05 s."""
        sdk_log.quieten()
        self._listener = listener
        self._listen()
        options = rtc.RoomOptions(connect_timeout=max(SIGNAL_TIMEOUT_S, deadline_s / 2))
        try:
            join = self._room.connect(url, token, options)
            await natives.connect(join, deadline_s=deadline_s, undo=self._room.disconnect)
        except rtc.ConnectError as err:
            self._listener = None
            # The SDK's text quotes the token: it must not hang on ours as the cause.
            raise explain.connect_failure(err.message, url) from None
        except TimeoutError:
            self._listener = None
            raise explain.silence(url, after_s=deadline_s) from None
        except BaseException:
            self._listener = None
            raise
        self._greet()

    def _listen(self) -> None:
        room = self._room
        room.on("participant_connected", self._on_participant_connected)
        room.on("participant_disconnected", self._on_participant_disconnected)
        room.on("track_published", self._on_track_published)
        room.on("track_unpublished", self._on_track_unpublished)
        room.on("track_subscribed", self._on_track_subscribed)
        room.on("track_unsubscribed", self._on_track_unsubscribed)
        room.on("track_muted", self._on_track_muted)
        room.on("track_unmuted", self._on_track_unmuted)
        room.on("track_subscription_failed", self._on_track_subscription_failed)
        room.on("active_speakers_changed", self._on_active_speakers_changed)
        room.on("reconnecting", self._on_reconnecting)
        room.on("reconnected", self._on_reconnected)
        room.on("disconnected", self._on_disconnected)
        room.on("connection_state_changed", self._on_connection_state_changed)

    def _greet(self) -> None:
        """Tell of those who were in the room before us; the SDK has no events for them."""
        for person in self._room.remote_participants.values():
            self._meet(person.identity)
            for publication in person.track_publications.values():
                _decline_video(publication)

    # ---- sending ---------------------------------------------------------------------------------------------

    async def publish_microphone(self, *, rate_hz: int) -> None:
        """Publish the one local track; see the port. Raises Rejected when the token does not allow it."""
        self._must_be_open()
        await self._sender.publish(rate_hz)

    async def send(self, frame: Samples) -> None:
        """Hand one 10 ms frame to the encoder; see the port. Raises ValueError for a frame of another size."""
        self._must_be_open()
        await self._sender.send(frame)

    @property
    def _is_open(self) -> bool:
        """Asked for each frame."""
        return not self._ended and self._room.connection_state != DISCONNECTED

    def _must_be_open(self) -> None:
        if not self._is_open:
            raise ServerClosed("the session has ended")

    # ---- looking ---------------------------------------------------------------------------------------------

    @property
    def participants(self) -> tuple[str, ...]:
        """Identities of the others."""
        return () if self._ended else tuple(self._room.remote_participants)

    @property
    def parked(self) -> tuple[str, ...]:
        """See the port."""
        return () if self._ended else self._seats.parked

    def set_max_streams(self, most: int) -> None:
        """See the port."""
        self._seats.set_most(most)

    async def stats(self) -> LinkStats:
        """What the media path did since the call before; all unknown when the session ended."""
        reading = await self._read()
        if reading is None:
            return LinkStats()
        before, self._reading = self._reading, reading
        if not self._reconnecting:
            self._renewals.look(counters.holds(before, reading))
        return counters.compare(before, reading)

    async def _find_track(self, webrtc_name: str) -> str | None:
        """The sid of one that is heard. Only a track's own statistics tell both names."""
        for sid in list(self._voices):
            publication = self._publication(sid)
            if publication is not None and publication.track is not None:
                with contextlib.suppress(TimeoutError, RuntimeError):  # it left meanwhile: then nothing is to be found
                    async with asyncio.timeout(STATS_TIMEOUT_S):
                        entries = await publication.track.get_stats()
                    if webrtc_name in counters.read(entries).tracks:
                        return sid
        return None

    def _is_heard(self, sid: str) -> bool:
        """Or would be, were it not muted or parked."""
        publication = self._publication(sid)
        return sid in self._voices or self._seats.is_parked(sid) or (publication is not None and publication.muted)

    def _publication(self, sid: str) -> rtc.RemoteTrackPublication | None:
        person = self._publisher(sid)
        return None if person is None else person.track_publications[sid]

    def _publisher(self, sid: str) -> rtc.RemoteParticipant | None:
        people = self._room.remote_participants.values()
        return next((person for person in people if sid in person.track_publications), None)

    async def _read(self) -> counters.Reading | None:
        if not self._is_open:
            return None
        try:
            async with asyncio.timeout(STATS_TIMEOUT_S):
                got = await self._room.get_rtc_stats()
        except (TimeoutError, RuntimeError):
            return None
        return counters.read([*got.publisher_stats, *got.subscriber_stats])

    # ---- leaving ---------------------------------------------------------------------------------------------

    async def disconnect(self) -> None:
        """Leave and free everything; see the port."""
        self._listener = None
        goodbye_in_s = self._sender.said_in_s if self._is_open else 0.0
        self._ended = True
        self._stop_helpers()
        if self._leaving is None:
            self._leaving = asyncio.get_running_loop().create_task(self._leave(goodbye_in_s), name="room-leave")
        await asyncio.wait({self._leaving}, timeout=CLOSE_TIMEOUT_S + goodbye_in_s + LEAVE_TIMEOUT_S)

    def _stop_helpers(self) -> None:
        self._renewals.stop()
        self._seats.stop()

    async def _leave(self, goodbye_in_s: float) -> None:
        self._stop_mending()
        if self._mending is not None:
            await asyncio.wait({self._mending})
        await asyncio.gather(*(voice.aclose() for voice in list(self._voices.values())))
        self._voices.clear()
        await asyncio.sleep(goodbye_in_s)
        if not await natives.leave(self._room.disconnect(), deadline_s=LEAVE_TIMEOUT_S):
            log.debug("room.leave_late")
        await self._sender.aclose()

    # ---- the SDK's events, on the loop thread ------------------------------------------------------------------

    def _on_participant_connected(self, person: rtc.RemoteParticipant) -> None:
        self._meet(person.identity)

    def _meet(self, identity: str) -> None:
        """Tell of a participant once, whichever event comes first."""
        if self._listener is not None and identity not in self._known:
            self._known.add(identity)
            self._listener.on_participant_joined(identity)

    def _on_participant_disconnected(self, person: rtc.RemoteParticipant) -> None:
        if person.disconnect_reason is None:  # whoever really leaves has a reason
            asyncio.get_running_loop().call_later(DOUBT_S, self._say_who_left)
        else:
            self._part(person.identity)

    def _say_who_left(self) -> None:
        """Tell of those who are gone. While reconnecting nobody knows."""
        if not self._reconnecting:
            for identity in self._known - set(self._room.remote_participants):
                self._part(identity)

    def _part(self, identity: str) -> None:
        if self._listener is not None and identity in self._known:
            self._known.remove(identity)
            self._listener.on_participant_left(identity)

    def _on_track_published(self, publication: rtc.RemoteTrackPublication, person: rtc.RemoteParticipant) -> None:
        self._meet(person.identity)
        _decline_video(publication)

    def _on_track_unpublished(self, publication: rtc.RemoteTrackPublication, _person: rtc.RemoteParticipant) -> None:
        self._lose(publication.sid)  # also when it was away for a moment

    def _on_track_subscribed(
        self, track: rtc.Track, publication: rtc.RemoteTrackPublication, person: rtc.RemoteParticipant
    ) -> None:
        if not isinstance(track, rtc.RemoteAudioTrack):
            _decline_video(publication)
            return
        self._meet(person.identity)
        self._hear(publication, person.identity)

    def _hear(self, publication: rtc.RemoteTrackPublication, identity: str, *, switched_on: bool = False) -> None:
        """Open a voice, if there is a seat. One that is muted costs a stream of silence: it is opened when it speaks
        again."""
        if self._listener is not None and not publication.muted:
            self._seats.come(publication.sid, identity, switched_on=switched_on)

    def _play(self, sid: str) -> None:
        publication, person = self._publication(sid), self._publisher(sid)
        if self._listener is None or publication is None or person is None or sid in self._voices:
            return
        if isinstance(publication.track, rtc.RemoteAudioTrack):
            if self._has_parked:  # whatever the server remembers of it
                self._let_flow(publication, True)
            voice = self._voice(publication.track, publication, person.identity)
            self._voices[sid] = voice
            self._listener.on_voice(voice)

    def _park(self, sid: str) -> None:
        self._close_voice(sid)
        self._has_parked = True
        if self._listener is not None and (publication := self._publication(sid)) is not None:
            self._let_flow(publication, False)

    def _let_flow(self, publication: rtc.RemoteTrackPublication, flows: bool) -> None:
        """Have the server send this voice, or nothing of it, and keep it subscribed: see ARCHITECTURE, decisions."""
        if self._crossing is not None:
            self._crossing.let_flow(publication, flows)

    def _voice(self, track: rtc.RemoteAudioTrack, publication: rtc.RemoteTrackPublication, identity: str) -> SdkVoice:
        queue = CountingQueue(VOICE_QUEUE_FRAMES)
        stream = rtc.AudioStream(track, sample_rate=self._rate_hz, num_channels=1, frame_size_ms=AUDIO_FRAME_MS)
        # In place before the stream's task runs for the first time. Should the SDK rename the attribute, the contract
        # test about dropped frames notices.
        stream._queue = queue  # type: ignore[assignment]
        is_microphone = publication.source == rtc.TrackSource.SOURCE_MICROPHONE
        return SdkVoice(
            stream,
            queue,
            sid=publication.sid,
            identity=identity,
            is_microphone=is_microphone,
            crossing=self._crossing,
        )

    def _on_track_unsubscribed(
        self, _track: rtc.Track, publication: rtc.RemoteTrackPublication, _person: rtc.RemoteParticipant
    ) -> None:
        if publication.sid in self._renewals.under_way:
            self._close_voice(publication.sid)  # it comes back, and keeps its seat
        else:
            self._lose(publication.sid)

    def _lose(self, sid: str) -> None:
        self._close_voice(sid)
        self._seats.go(sid)

    def _close_voice(self, sid: str) -> None:
        if self._voices.pop(sid, None) is not None and self._listener is not None:
            self._listener.on_voice_gone(sid)

    def _on_track_muted(self, _person: rtc.Participant, publication: rtc.TrackPublication) -> None:
        self._lose(publication.sid)  # of our own track nothing is heard anyway

    def _on_track_unmuted(self, person: rtc.Participant, publication: rtc.TrackPublication) -> None:
        if isinstance(publication, rtc.RemoteTrackPublication) and isinstance(publication.track, rtc.RemoteAudioTrack):
            self._hear(publication, person.identity, switched_on=True)

    def _on_active_speakers_changed(self, people: list[rtc.Participant]) -> None:
        """The server hears who speaks whether or not anything is sent to us. Measured: see ARCHITECTURE."""
        self._seats.speak({person.identity for person in people})

    def _on_track_subscription_failed(self, person: rtc.RemoteParticipant, sid: str, error: str) -> None:
        log.warning("stream.refused", identity=person.identity, stream=sid, reason=explain.scrub(str(error)))

    def _on_reconnecting(self) -> None:
        self._reconnecting = True
        self._stop_helpers()
        self._stop_mending()
        if self._listener is not None:
            self._listener.on_reconnecting()

    def _stop_mending(self) -> None:
        if self._mending is not None:
            self._mending.cancel()

    def _on_reconnected(self) -> None:
        self._stop_mending()
        if self._listener is None:
            return
        self._mending = asyncio.get_running_loop().create_task(self._mend(), name="room-mend")

    def _on_disconnected(self, reason: int) -> None:
        self._ended = True
        self._stop_helpers()
        listener, self._listener = self._listener, None
        if listener is None:
            return
        name = DisconnectReason.Name(reason)  # type: ignore[arg-type]
        if name == "DUPLICATE_IDENTITY" and natives.may_have_evicted_ourselves():
            listener.on_closed(ServerClosed("an attempt of our own that came in late took this session's place"))
        else:
            listener.on_closed(explain.session_end(name))

    def _on_connection_state_changed(self, state: int) -> None:
        if state == DISCONNECTED:
            asyncio.get_running_loop().call_later(UNTOLD_S, self._end_untold)

    def _end_untold(self) -> None:
        """Nobody waits for ever for a reason that does not come."""
        if not self._ended:
            self._give_up(explain.session_end("UNKNOWN_REASON"))

    # ---- after a reconnect -------------------------------------------------------------------------------------

    async def _mend(self) -> None:
        """Make the room what it was: one microphone, one voice for each subscribed track. Then say so."""
        try:
            self._match_voices()
            await self._sender.match()
        except NetworkError as err:
            self._give_up(err)
            return
        self._reconnecting = False
        self._say_who_left()
        if self._listener is not None:
            self._listener.on_reconnected()

    def _match_voices(self) -> None:
        self._seats.speak(())
        subscribed = {
            publication.sid: (publication, person.identity)
            for person in self._room.remote_participants.values()
            for publication in person.track_publications.values()
            if isinstance(publication.track, rtc.RemoteAudioTrack)
        }
        for sid in [sid for sid in self._seats.all if sid not in subscribed]:
            self._lose(sid)
        for publication, identity in subscribed.values():
            self._hear(publication, identity)
        for identity in list(self._room.remote_participants):
            self._meet(identity)

    def _give_up(self, error: NetworkError) -> None:
        self._ended = True
        self._stop_helpers()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.on_closed(error)


def _decline_video(publication: rtc.RemoteTrackPublication) -> None:
    """Nobody looks here: have the server not send pictures (1 to 2 Mbit/s for each camera)."""
    if publication.kind == rtc.TrackKind.KIND_VIDEO:
        publication.set_subscribed(False)
