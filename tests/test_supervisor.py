"""The supervisor with the real orchestrator, legs, mixer and handlers, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from typing import NoReturn

import pytest

from appliance.orchestrator import AudioClientOrchestrator
from appliance.ports import CaptureCallback, StreamSpec
from appliance.supervisor import NEXT, State
from tests.fakes.backend import FakeStream, usb_card
from tests.fakes.room import Answer
from tests.harness.story import Story, make_settings
from tests.harness.vtime import run_jumping


def test_a_station_joins_and_leaves() -> None:
    async def told() -> Story:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
        return story

    story = run_jumping(told())
    assert story.states == [State.CONNECTING, State.ONLINE, State.STOPPING, State.STOPPED]
    assert [line["event"] for line in story.events("room.connected", "room.disconnected")] == [
        "room.connected",
        "room.disconnected",
    ]


def test_a_server_that_comes_an_hour_late_is_joined_and_the_wait_is_told_once() -> None:
    async def told() -> Story:
        async with Story() as story:
            story.server.default_answer = Answer.REFUSE
            await story.until_state(State.WAITING, 1.0)
            await story.passes(3600)
            story.server.default_answer = Answer.ACCEPT
            await story.until_state(State.ONLINE, 6.0)
        return story

    story = run_jumping(told())
    warnings = [line for line in story.lines if line["log_level"] == "warning"]
    assert [line["event"] for line in warnings if line["event"].startswith("room.retry")] == ["room.retry"]
    assert story.server.attempts < 3600 / 2.5 + 10, "retried more often than the backoff allows"


def test_a_killed_server_that_returns_is_one_down_line_and_one_up_line_with_its_length() -> None:
    async def told() -> Story:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            await story.passes(30)
            story.server.kill()
            await story.until_state(State.RECOVERING, 1.0)
            await story.passes(300)
            assert story.supervisor.state in (State.WAITING, State.CONNECTING)
            story.server.start()
            await story.until_state(State.ONLINE, 8.0)
            down, up = story.events("room.connected", "room.disconnected")[1:3]
            assert (down["event"], up["event"]) == ("room.disconnected", "room.connected")
            assert 300 <= up["outage_s"] <= 308
            assert len(story.events("room.connected", "room.disconnected")) == 3
        return story

    run_jumping(told())


def test_a_break_that_the_sdk_mends_needs_no_new_session() -> None:
    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            story.server.kill()
            await story.until_state(State.RECOVERING, 1.0)
            await story.passes(3)
            story.server.start()
            await story.until_state(State.ONLINE, 1.0)
            assert story.server.joins == 1
            assert story.events("room.connected")[-1]["resumed"] is True

    run_jumping(told())


def test_a_break_while_the_sound_cards_are_being_opened_is_mended_like_any_other() -> None:
    async def told() -> None:
        async with Story() as story:
            open_capture = story.backend.open_capture

            def open_and_break(spec: StreamSpec, callback: CaptureCallback) -> FakeStream:
                story.server.kill()
                return open_capture(spec, callback)

            story.backend.open_capture = open_and_break  # type: ignore[method-assign]
            await story.until_state(State.RECOVERING, 1.0)
            story.server.start()
            await story.until_state(State.ONLINE, 1.0)
            assert not story.events("bug")
            assert [line["event"] for line in story.events("room.connected", "room.disconnected")] == [
                "room.connected",
                "room.disconnected",
                "room.connected",
            ]

    run_jumping(told())


def test_recovery_is_given_up_after_the_configured_patience() -> None:
    async def told() -> None:
        async with Story(make_settings(supervisor={"recovery_patience_s": 5})) as story:
            await story.until_state(State.ONLINE, 1.0)
            story.server.freeze()
            await story.until_state(State.RECOVERING, 5.0)
            await story.until_state(State.WAITING, 6.0)
            assert story.supervisor.reason == "stalled"

    run_jumping(told())


@pytest.mark.parametrize("away_s", [2.0, 30.0, 120.0])
@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_the_call_is_back_soon_after_the_server_is(how: str, away_s: float) -> None:
    """However the server went away: in the room again within 2.5 s, which leaves half a second for the sound."""

    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            await story.passes(15)
            getattr(story.server, how)()
            await story.passes(away_s)
            story.server.start()
            await story.until_state(State.ONLINE, 2.5)
            await story.passes(20)
            assert len(story.server.sessions()) == 1
            told = [line["event"] for line in story.events("room.connected", "room.disconnected")]
            assert told in (["room.connected"], ["room.connected", "room.disconnected", "room.connected"])

    run_jumping(told())


def test_a_server_that_hangs_is_noticed_within_five_seconds_and_said() -> None:
    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            await story.passes(15)
            story.server.freeze()
            await story.until_state(State.RECOVERING, 5.0)
            assert story.supervisor.reason == "media_stalled"
            assert story.events("room.disconnected")[-1]["reason"] == "media_stalled"

    run_jumping(told())


def test_a_server_that_answers_and_is_not_rejoined_by_the_sdk_is_rejoined_by_us() -> None:
    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            await story.passes(15)
            for room in story.server.sessions():
                room.lose_signal(give_up_s=20.0)  # the SDK pauses between its tries, the server is there all along
            await story.until_state(State.RECOVERING, 1.0)
            await story.until(lambda: story.server.joins == 2, 2.0, "a new session")
            await story.until_state(State.ONLINE, 1.0)
            assert "unmended" in {line.get("reason") for line in story.events("room.retry")}

    run_jumping(told())


def test_pauses_stay_short_while_an_outage_is_young_and_grow_when_it_is_old() -> None:
    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            story.server.kill()
            await story.passes(60)
            before = story.server.knocks
            await story.passes(120)
            young = story.server.knocks - before
            await story.passes(300)
            before = story.server.knocks
            await story.passes(120)
            old = story.server.knocks - before
            assert 120 <= young <= 250
            assert 24 <= old <= 50

    run_jumping(told())


def test_a_wrong_key_is_blocked_told_and_still_tried() -> None:
    async def told() -> None:
        async with Story() as story:
            story.server.default_answer = Answer.REJECT
            await story.until_state(State.BLOCKED, 1.0)
            assert story.supervisor.reason == "rejected"
            assert "api_secret" in story.supervisor.detail
            story.server.default_answer = Answer.ACCEPT
            await story.until_state(State.ONLINE, 31.0)

    run_jumping(told())


def test_an_outage_that_turns_into_a_refusal_is_told_as_one() -> None:
    """A server that comes back with other keys: `blocked` must not hide among the debug lines of the outage."""

    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            await story.passes(15)
            story.server.kill()
            await story.passes(60)
            story.server.default_answer = Answer.REJECT
            await story.until_state(State.BLOCKED, 5.0)
            await story.passes(300)
            blocked = [line for line in story.events("state.changed") if line["to"] == "blocked"]
            assert [line["log_level"] for line in blocked][:2] == ["warning", "debug"]
            assert "warning" not in [line["log_level"] for line in blocked][1:]

    run_jumping(told())


def test_a_replaced_token_ends_the_pause_at_once() -> None:
    async def told() -> None:
        async with Story() as story:
            story.server.default_answer = Answer.REJECT
            await story.until_state(State.BLOCKED, 1.0)
            story.server.default_answer = Answer.ACCEPT
            story.supervisor.retry_now()
            await story.until_state(State.ONLINE, 0.5)

    run_jumping(told())


def test_sessions_that_never_last_are_made_less_and_less_often() -> None:
    """An encoder that takes nothing ends each session within seconds: not a second apart, for hours."""

    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            story.server.sends_stuck = True
            await story.passes(400)
            before = story.server.joins
            await story.passes(100)
            assert story.server.joins - before <= 100 / (2 + 2.5), "two seconds of a session, and half of retry_max_s"
            story.server.sends_stuck = False
            await story.passes(20)
            assert story.supervisor.state is State.ONLINE

    run_jumping(told())


def test_two_devices_with_one_identity_do_not_fight() -> None:
    """Not more than one takeover a minute, growing."""

    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            moments = []
            for _ in range(6):
                story.server.evict("kitchen")
                await story.until_state(State.BLOCKED, 1.0)
                assert story.supervisor.reason == "evicted"
                gone_s = story.clock.monotonic()
                await story.until_state(State.ONLINE, 1000.0)
                moments.append(story.clock.monotonic() - gone_s)
                await story.passes(20)  # stable long enough for ordinary failures, not for this one
            assert min(moments) >= 60
            assert moments[-1] > 2 * moments[0]

    run_jumping(told())


def test_a_station_that_has_a_double_and_may_not_publish_does_not_throw_it_out_twice_a_minute() -> None:
    """It is let in, which ends the other one's session, and only then learns that it may not speak."""

    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            story.server.may_publish = False
            story.server.evict("kitchen")
            moments = []
            for joins in range(2, 6):
                await story.until(lambda joins=joins: story.server.joins == joins, 130.0, "let in")  # type: ignore[misc]
                moments.append(story.clock.monotonic())
            assert min(after - before for before, after in itertools.pairwise(moments)) >= 60

    run_jumping(told())


def test_a_missing_card_degrades_and_a_plugged_one_heals_without_leaving_the_room() -> None:
    async def told() -> None:
        async with Story(cards=()) as story:
            await story.until_state(State.DEGRADED, 1.0)
            assert story.supervisor.reason == "input_device_missing"
            await story.passes(100)
            story.backend.plug(usb_card("Device"))
            await story.until_state(State.ONLINE, 2.0)
            assert story.server.joins == 1
            assert len(story.events("audio.lost")) == 2
            assert [line["outage_s"] > 100 for line in story.events("audio.recovered")] == [True, True]

    run_jumping(told())


def test_a_card_pulled_mid_call_is_noticed_within_a_second_and_comes_back_by_itself() -> None:
    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            story.backend.unplug("Device")
            await story.until_state(State.DEGRADED, 1.0)
            await story.passes(60)
            story.backend.plug(usb_card("Device"), index=4)
            await story.until_state(State.ONLINE, 2.0)
            assert story.server.joins == 1

    run_jumping(told())


def test_a_card_that_returns_while_the_connection_is_broken_is_open_when_it_is_mended() -> None:
    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            story.server.kill()
            await story.until_state(State.RECOVERING, 1.0)
            story.backend.unplug("Device")
            await story.passes(1)
            story.backend.plug(usb_card("Device"))
            await story.until(lambda: len(story.backend.streams) == 2, 2.0, "both directions of the card open again")
            assert story.supervisor.state is State.RECOVERING
            story.server.start()
            await story.until_state(State.ONLINE, 1.0)
            assert len(story.events("audio.recovered")) == 2

    run_jumping(told())


def test_how_many_are_played_changes_while_the_call_runs() -> None:
    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            for number in range(10):
                story.server.join(f"guest-{number}").publish()
            session = story.supervisor.session
            assert session is not None
            assert session.parked == ("guest-8", "guest-9"), "eight is the default"
            story.apply(audio={"max_streams": 10})
            assert session.parked == ()
            story.apply(audio={"max_streams": 1})
            assert len(session.parked) == 9
            story.server.say_who_speaks("guest-7")
            assert "guest-7" not in session.parked
            assert story.supervisor.session is session, "the room is not left for that"

    run_jumping(told())


def test_a_microphone_that_is_switched_off_in_a_call_is_closed_and_gone_for_everybody() -> None:
    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            assert story.server.tracks(but="bob")
            story.apply(audio={"input": {"enabled": False}})
            await story.until(lambda: len(story.backend.streams) == 1, 1.0, "only the speaker open")
            await story.until_state(State.ONLINE, 1.0)
            assert not story.server.tracks(but="bob")
            story.apply()
            await story.until(lambda: story.server.tracks(but="bob"), 1.0, "the microphone published again")

    run_jumping(told())


def test_a_card_that_is_away_over_several_sessions_is_lost_once_and_recovers_once() -> None:
    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            story.backend.unplug("Device")
            await story.until_state(State.DEGRADED, 1.0)
            for joins in (2, 3):
                story.server.close_room()
                await story.until(lambda joins=joins: story.server.joins == joins, 6.0, "next session")  # type: ignore[misc]
                await story.passes(3)
            story.backend.plug(usb_card("Device"))
            await story.until_state(State.ONLINE, 2.0)
            assert len(story.events("audio.lost")) == 2, "one for each direction"
            assert [line["outage_s"] > 6 for line in story.events("audio.recovered")] == [True, True]
            assert len(story.events("audio.opened")) == 2, "before it was pulled"

    run_jumping(told())


def test_silence_is_sent_while_the_microphone_is_away() -> None:
    """A gap in sending makes every listener's jitter buffer swell by the gap."""

    async def told() -> None:
        async with Story(every_block=True) as story:
            await story.until_state(State.ONLINE, 1.0)
            await story.passes(1)
            story.backend.unplug("Device")
            await story.passes(10)
            sent = story.server.session("kitchen").sent_frames
            await story.passes(10)
            assert 990 <= story.server.session("kitchen").sent_frames - sent <= 1010

    run_jumping(told())


def test_processing_is_switched_in_the_running_call() -> None:
    async def story() -> None:
        async with Story(every_block=True) as story:
            await story.until_state(State.ONLINE, 5)
            session = story.supervisor.session
            assert isinstance(session, AudioClientOrchestrator)
            sent = session.network.get_metrics()["frames_sent"]
            story.apply(audio={"input": {"processing": {"echo_cancellation": True}}, "duplex": "half"})
            await story.passes(1.0)
            assert story.supervisor.session is session
            told = session.get_metrics()["processing"]
            assert (told["echo_cancellation"], told["noise_suppression"], told["duplex"]) == (True, False, "half")
            assert session.network.get_metrics()["frames_sent"] == pytest.approx(int(str(sent)) + 100, abs=3)
            assert session.network.get_metrics()["silence_frames"] == 0
            story.apply()
            assert session.get_metrics()["processing"]["echo_cancellation"] is False
            assert not story.events("audio.lost", "room.disconnected", "processing.failed")

    run_jumping(story())


def test_a_volume_changes_without_touching_session_or_devices() -> None:
    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            opened = len(story.backend.opened)
            story.apply(audio={"output": {"volume": 0.5}, "volumes": {"bob": 1.5}})
            await story.passes(5)
            assert (story.server.joins, len(story.backend.opened)) == (1, opened)
            assert story.supervisor.session is not None
            assert story.supervisor.state is State.ONLINE

    run_jumping(told())


def test_another_device_is_taken_without_leaving_the_room() -> None:
    async def told() -> None:
        both = {"input": {"device": "Device"}, "output": {"device": "Device"}}
        async with Story(make_settings(audio=both), cards=("Device", "Other")) as story:
            await story.until_state(State.ONLINE, 1.0)
            story.apply(audio={**both, "input": {"device": "Other"}})
            await story.until(lambda: story.backend.opened[-1].pcm == "plughw:CARD=Other", 2.0, "other card open")
            await story.passes(1)
            assert story.server.joins == 1
            assert story.supervisor.state is State.ONLINE

    run_jumping(told())


def test_another_device_that_is_chosen_while_joining_is_the_only_one_open_afterwards() -> None:
    """A device that was opened for a session that never came to be would be busy for ever."""

    async def told() -> None:
        both = {"input": {"device": "Device"}, "output": {"device": "Device"}}
        async with Story(make_settings(audio=both), cards=("Device", "Other")) as story:
            story.server.answers.append(Answer.LATE)
            await story.until(lambda: story.server.attempts == 1, 1.0, "first attempt")
            story.apply(audio={"input": {"device": "Other"}, "output": {"device": "Other"}})
            await story.until_state(State.ONLINE, 15.0)
            assert {stream.pcm for stream in story.backend.streams} == {"plughw:CARD=Other"}

    run_jumping(told())


def test_another_room_is_joined_anew_at_once() -> None:
    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            story.apply(room="cellar")
            await story.until(lambda: story.server.joins == 2, 1.0, "second join")
            await story.until_state(State.ONLINE, 1.0)
            assert story.events("room.disconnected")[-1]["reason"] == "config_changed"

    run_jumping(told())


def test_a_reload_in_the_middle_of_a_connect_leaves_one_session() -> None:
    async def told() -> None:
        async with Story() as story:
            story.server.answers.append(Answer.SILENT)
            await story.until(lambda: story.server.attempts == 1, 1.0, "first attempt")
            story.apply(room="cellar")
            await story.until_state(State.ONLINE, 2.0)
            await story.passes(60)
            assert len(story.server.sessions()) == 1

    run_jumping(told())


def test_a_connect_that_comes_in_late_does_not_leave_two_sessions() -> None:
    async def told() -> None:
        async with Story() as story:
            story.server.answers.append(Answer.LATE)
            await story.until_state(State.WAITING, 11.0)
            await story.passes(120)
            assert len(story.server.sessions()) == 1
            assert story.supervisor.state is State.ONLINE

    run_jumping(told())


@pytest.mark.parametrize("moment_s", [0.0, 0.005, 0.02, 0.1, 1.0, 5.0, 12.0, 40.0])
@pytest.mark.parametrize("answer", list(Answer))
def test_a_stop_at_any_moment_is_done_within_two_seconds(answer: Answer, moment_s: float) -> None:
    async def told() -> None:
        async with Story() as story:
            story.server.default_answer = answer
            await story.passes(moment_s)
            asked_s = story.clock.monotonic()
            story.supervisor.stop()
            await story.until_state(State.STOPPED, 2.0)
            assert story.clock.monotonic() - asked_s < 2.0

    run_jumping(told())


def test_the_watchdog_is_fed_in_every_state() -> None:
    async def told() -> None:
        async with Story() as story:
            for answer in (Answer.SILENT, Answer.REFUSE, Answer.REJECT, Answer.ACCEPT):
                story.server.default_answer = answer
                story.server.close_room()
                for _ in range(30):
                    before = story.supervisor.looked_at
                    await story.passes(1.1)
                    assert story.supervisor.looked_at > before, story.supervisor.state

    run_jumping(told())


def test_every_state_but_the_last_has_a_way_out_and_a_way_to_stop() -> None:
    for state, nexts in NEXT.items():
        if state is not State.STOPPED:
            assert State.STOPPING in nexts or state is State.STOPPING
    reachable = {State.STARTING}
    for _ in State:
        reachable |= set(itertools.chain.from_iterable(NEXT[s] for s in reachable))
    assert reachable == set(State)


def test_an_unexpected_exception_is_told_and_survived() -> None:
    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            session = story.supervisor.session
            assert session is not None

            def broken() -> None:
                raise KeyError("planted")

            session.tend = broken  # type: ignore[method-assign]
            await story.until_state(State.WAITING, 2.0)
            await story.until_state(State.ONLINE, 6.0)
            assert story.events("bug")
            await asyncio.sleep(0)

    run_jumping(told())


def test_a_fault_in_every_try_is_told_once_with_its_place() -> None:
    async def told() -> None:
        async with Story() as story:
            await story.until_state(State.ONLINE, 1.0)
            works = story.supervisor._new_session

            async def broken(*_: object) -> NoReturn:
                raise KeyError("planted")

            story.supervisor._new_session = broken
            story.server.close_room()
            await asyncio.sleep(60)
            assert len(story.events("bug")) == 1
            story.supervisor._new_session = works
            await story.until_state(State.ONLINE, 30.0)

    run_jumping(told())
