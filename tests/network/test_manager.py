"""`LiveKitNetworkManager` and its pumps, on the fake room, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import structlog

from appliance.errors import Evicted, NetworkError, Rejected, ServerClosed, Stalled, Unreachable
from appliance.network.capture import OWED_FRAMES, QUIET_S
from appliance.network.manager import LiveKitNetworkManager, SessionState
from appliance.ports import Link
from tests.fakes.room import Answer, FakeServer
from tests.harness.vtime import LoopClock, run_jumping
from tests.network.parts import Microphone, Mixer, frame


class Stage:
    """A manager with everything around it."""

    def __init__(self, *, listen_only: bool = False, max_streams: int = 8) -> None:
        self.server = FakeServer()
        self.mixer = Mixer()
        self.microphone = Microphone()
        self.changes = 0
        self.manager = LiveKitNetworkManager(
            room_factory=self.server.new_room,
            sink=self.mixer,
            frames=None if listen_only else self.microphone,
            sample_rate=48_000,
            max_streams=max_streams,
            clock=LoopClock(),
            knock=self.server.knock,
            on_change=self._count,
        )

    def _count(self) -> None:
        self.changes += 1

    async def join(self) -> None:
        await self.manager.connect(self.server.url, self.server.token("kitchen"), deadline_s=10)
        await self.manager.publish()

    @property
    def sent(self) -> list[int]:
        """The last sample of each frame: the first ones may be a fade."""
        return [int(f[-1]) for f in self.server.session("kitchen").sent]


@contextlib.asynccontextmanager
async def on_stage(*, listen_only: bool = False, max_streams: int = 8) -> AsyncIterator[Stage]:
    stage = Stage(listen_only=listen_only, max_streams=max_streams)
    await stage.join()
    try:
        yield stage
    finally:
        await stage.manager.disconnect()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    left = {task for task in left if not task.get_name().startswith("Task-")}
    assert not left, f"tasks were left: {left}"
    assert not stage.microphone.is_listened_to


# ---- in ---------------------------------------------------------------------------------------------------------


def test_a_voice_reaches_the_mixer_under_its_speakers_name_and_other_tracks_under_their_own() -> None:
    async def story() -> None:
        async with on_stage() as stage:
            bob = stage.server.join("bob")
            voice, music = bob.publish(), bob.publish(is_microphone=False)
            voice.say(frame(1))
            music.say(frame(2))
            await asyncio.sleep(0.01)
            assert stage.mixer.heard == {"bob": [1], f"bob/{music.sid}": [2]}
            assert set(stage.mixer.owners.values()) == {"bob"}
            bob.unpublish(music)
            assert list(stage.mixer.owners) == ["bob"]
            assert stage.manager.get_metrics()["frames_received"] == 2

    run_jumping(story())


def test_of_more_voices_than_max_streams_the_last_to_speak_are_in_the_mixer_and_the_others_are_counted() -> None:
    async def story() -> None:
        with structlog.testing.capture_logs() as lines:
            async with on_stage(max_streams=2) as stage:
                for who in ("bob", "carol", "dave"):
                    stage.server.join(who).publish()
                assert list(stage.mixer.owners) == ["bob", "carol"]
                assert stage.manager.parked == ("dave",)
                assert stage.manager.get_metrics()["parked"] == 1
                stage.server.say_who_speaks("dave")
                assert list(stage.mixer.owners) == ["bob", "dave"]
                assert stage.mixer.told[-2:] == ["remove carol", "open dave"], "never more than two at once"
                stage.manager.set_max_streams(3)
                assert set(stage.mixer.owners) == {"bob", "carol", "dave"}
                assert stage.manager.get_metrics()["parked"] == 0
        parked = [(line["identity"], line["most"]) for line in lines if line["event"] == "stream.parked"]
        assert parked == [("dave", 2), ("carol", 2)]

    run_jumping(story())


def test_a_voice_that_cannot_deliver_past_the_loop_is_heard_through_it() -> None:
    async def story() -> None:
        async with on_stage() as stage:
            stage.server.delivers = False
            voice = stage.server.join("bob").publish()
            await asyncio.sleep(0.01)
            voice.say(frame(1))
            await asyncio.sleep(0.01)
            assert stage.mixer.heard == {"bob": [1]}

    run_jumping(story())


def test_a_track_that_comes_anew_replaces_the_old_one_under_the_same_name() -> None:
    async def story() -> None:
        async with on_stage() as stage:
            bob = stage.server.join("bob")
            old, new = bob.publish(), bob.publish()
            old.say(frame(1))
            new.say(frame(2))
            await asyncio.sleep(0.01)
            assert stage.mixer.told == ["open bob", "remove bob", "open bob"]
            assert stage.mixer.heard == {"bob": [2]}
            bob.unpublish(old)
            new.say(frame(3))
            await asyncio.sleep(0.01)
            assert stage.mixer.heard == {"bob": [2, 3]}, "the old track's end must not end the new one"

    run_jumping(story())


def test_what_a_native_thread_still_delivers_when_a_track_goes_is_not_heard_after_it() -> None:
    async def story() -> None:
        with structlog.testing.capture_logs() as lines:
            async with on_stage() as stage:
                bob = stage.server.join("bob")
                track = bob.publish()
                await asyncio.sleep(0.01)
                voice = stage.server.sessions()[0].voices[track.sid]
                voice.put(frame(1))
                bob.unpublish(track)
                voice.put(frame(2))  # it is not closed yet: that takes the SDK a moment
                assert stage.mixer.heard == {"bob": [1]}
        assert [line["event"] for line in lines if line["event"] == "stream.failed"] == []

    run_jumping(story())


def test_what_still_waits_when_a_track_goes_is_not_heard_after_it() -> None:
    async def story() -> None:
        with structlog.testing.capture_logs() as lines:
            async with on_stage() as stage:
                stage.server.delivers = False
                bob = stage.server.join("bob")
                voice = bob.publish()
                await asyncio.sleep(0.01)
                voice.say(frame(1))
                bob.unpublish(voice)
                await asyncio.sleep(0.01)
                assert stage.mixer.heard == {}
        assert [line["event"] for line in lines if line["event"] == "stream.failed"] == []

    run_jumping(story())


def test_comings_and_goings_are_logged_with_what_they_carried() -> None:
    async def story() -> None:
        with structlog.testing.capture_logs() as lines:
            async with on_stage() as stage:
                bob = stage.server.join("bob")
                bob.publish().say(frame(1))
                await asyncio.sleep(2)
                bob.leave()
        told = [{k: v for k, v in line.items() if k != "log_level"} for line in lines]
        assert told == [
            {"event": "participant.joined", "identity": "bob", "participants": 1},
            {"event": "stream.started", "identity": "bob", "stream": "bob"},
            {"event": "stream.stopped", "identity": "bob", "stream": "bob", "seconds": 2.0, "frames": 1},
            {"event": "participant.left", "identity": "bob", "participants": 0},
        ]

    run_jumping(story())


def test_a_server_that_comes_back_leaves_one_stream_and_a_counted_reconnect() -> None:
    async def story() -> None:
        async with on_stage() as stage:
            voice = stage.server.join("bob").publish()
            stage.server.kill()
            assert stage.manager.link is Link.RECOVERING
            assert stage.manager.recovering_why == "connection_lost"
            await asyncio.sleep(3)
            stage.server.start()
            assert stage.manager.link is Link.UP
            assert stage.manager.get_metrics()["reconnects"] == 1
            assert list(stage.mixer.owners) == ["bob"]
            voice.say(frame(7))
            await asyncio.sleep(0.01)
            assert stage.mixer.heard == {"bob": [7]}

    run_jumping(story())


# ---- out --------------------------------------------------------------------------------------------------------


def test_every_microphone_frame_is_sent_in_order_and_no_silence_between() -> None:
    async def story() -> None:
        async with on_stage() as stage:
            for n in range(0, 50, 5):
                stage.microphone.say(*range(n + 1, n + 6))
                await asyncio.sleep(0.05)
            assert stage.sent == list(range(1, 51))
            assert stage.manager.get_metrics()["silence_frames"] == 0

    run_jumping(story())


@pytest.mark.parametrize("quiet_s", [1.0, 60.0])
def test_a_quiet_microphone_is_filled_with_silence_in_step_with_the_clock(quiet_s: float) -> None:
    async def story() -> None:
        async with on_stage() as stage:
            stage.microphone.say(1)
            await asyncio.sleep(quiet_s)
            silence = stage.manager.get_metrics()["silence_frames"]
            assert isinstance(silence, int)
            assert silence == pytest.approx(quiet_s * 100, abs=2), "drifted"
            assert stage.server.session("kitchen").sent_frames == silence + 1

    run_jumping(story())


def test_a_microphone_that_stops_for_a_moment_costs_no_silence() -> None:
    async def story() -> None:
        async with on_stage() as stage:
            stage.microphone.say(1)
            await asyncio.sleep(QUIET_S - 0.005)
            stage.microphone.say(2)
            await asyncio.sleep(0.001)
            assert stage.sent == [1, 2]

    run_jumping(story())


def test_a_microphone_that_comes_back_is_sent_at_once() -> None:
    async def story() -> None:
        async with on_stage() as stage:
            await asyncio.sleep(5)
            stage.microphone.say(9)
            await asyncio.sleep(0.001)
            assert stage.sent[-1] == 9

    run_jumping(story())


def test_silence_never_comes_in_a_burst_not_even_after_the_board_slept() -> None:
    async def story() -> None:
        async with on_stage() as stage:
            await asyncio.sleep(1)
            before = stage.server.session("kitchen").sent_frames
            asyncio.get_running_loop().now_s += 600  # type: ignore[attr-defined]  # nothing ran for ten minutes
            await asyncio.sleep(0.005)
            burst = stage.server.session("kitchen").sent_frames - before
            assert burst <= 4
            await asyncio.sleep(1)
            assert stage.server.session("kitchen").sent_frames - before <= 100 + OWED_FRAMES

    run_jumping(story())


def test_an_encoder_that_takes_nothing_ends_the_session() -> None:
    async def story() -> None:
        async with on_stage() as stage:
            stage.server.sends_stuck = True
            stage.microphone.say(1)
            await asyncio.wait_for(stage.manager.closed.wait(), 5)
            assert isinstance(stage.manager.error, Stalled)

    run_jumping(story())


def test_a_session_that_vanishes_without_a_word_is_over() -> None:
    async def story() -> None:
        async with on_stage() as stage:
            stage.server.session("kitchen").vanish()
            await asyncio.wait_for(stage.manager.closed.wait(), 5)
            assert isinstance(stage.manager.error, Stalled)

    run_jumping(story())


def test_a_listen_only_session_publishes_nothing() -> None:
    async def story() -> None:
        async with on_stage(listen_only=True) as stage:
            await asyncio.sleep(1)
            assert stage.server.session("kitchen").track is None

    run_jumping(story())


# ---- beginning and end --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "error"), [(Answer.REFUSE, Unreachable), (Answer.REJECT, Rejected)])
def test_a_failed_join_says_why_and_leaves_nothing(answer: Answer, error: type[NetworkError]) -> None:
    async def story() -> None:
        stage = Stage()
        stage.server.answers.append(answer)
        with pytest.raises(error):
            await stage.join()
        assert stage.manager.state is SessionState.CLOSED
        await stage.manager.disconnect()

    run_jumping(story())


def test_a_session_that_was_evicted_says_so_and_stops_its_streams() -> None:
    async def story() -> None:
        async with on_stage() as stage:
            stage.server.join("bob").publish()
            changes = stage.changes
            stage.server.evict("kitchen")
            assert stage.manager.closed.is_set()
            assert isinstance(stage.manager.error, Evicted)
            assert stage.manager.link is Link.CLOSED
            assert stage.changes > changes
            assert stage.mixer.owners == {}
            with pytest.raises(Evicted):
                await stage.manager.publish()

    run_jumping(story())


def test_a_late_join_of_our_own_is_no_reason_to_call_a_person() -> None:
    async def story() -> None:
        server = FakeServer()
        server.answers.append(Answer.LATE)
        first = Stage()
        first.manager._room_factory = server.new_room
        with pytest.raises(NetworkError):
            await first.manager.connect(server.url, server.token("kitchen"), deadline_s=1)
        second = Stage()
        second.manager._room_factory = server.new_room
        await second.manager.connect(server.url, server.token("kitchen"), deadline_s=1)
        await asyncio.wait_for(second.manager.closed.wait(), 60)
        assert isinstance(second.manager.error, ServerClosed)
        await second.manager.disconnect()
        await first.manager.disconnect()

    run_jumping(story())


def test_disconnecting_twice_and_at_once_is_one_leave() -> None:
    async def story() -> None:
        async with on_stage() as stage:
            await asyncio.gather(stage.manager.disconnect(), stage.manager.disconnect())
            await stage.manager.disconnect()
            assert stage.manager.error is None
            assert not stage.server.sessions()

    run_jumping(story())


def test_metrics_have_every_field_before_and_after() -> None:
    async def story() -> None:
        stage = Stage()
        before = set(stage.manager.get_metrics())
        await stage.join()
        await asyncio.sleep(1)
        after = stage.manager.get_metrics()
        assert set(after) == before
        assert after["rtt_ms"] == 1.0
        assert after["path"] == "udp host"
        await stage.manager.disconnect()

    run_jumping(story())
