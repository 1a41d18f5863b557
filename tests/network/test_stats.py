"""The arithmetic behind the link's figures, and that it finds its counters in the SDK's messages."""

from __future__ import annotations

from typing import Any

import pytest
from livekit.rtc._proto import stats_pb2

from appliance.network.stats import Inbound, Outbound, Reading, compare, holds, read, sends_audio
from appliance.ports import LinkStats


def inbound(**counters: Any) -> Reading:
    return Reading(inbound={"in": Inbound(**counters)})


def outbound(**counters: Any) -> Reading:
    return Reading(outbound={"out": Outbound(**counters)})


def test_before_anything_moved_nothing_is_known() -> None:
    assert compare(Reading(), Reading()) == LinkStats()


def test_loss_is_the_share_of_what_should_have_come_since_the_last_reading() -> None:
    before = inbound(packets_received=1000, packets_lost=500)
    after = inbound(packets_received=1090, packets_lost=510)
    assert compare(before, after).loss_in_ratio == pytest.approx(0.1)


def test_packets_that_come_late_after_all_are_no_negative_loss() -> None:
    before = inbound(packets_received=100, packets_lost=5)
    assert compare(before, inbound(packets_received=150, packets_lost=3)).loss_in_ratio == 0.0


def test_the_jitter_buffer_is_the_mean_over_the_samples_that_left_it() -> None:
    before = inbound(buffered_s=10.0, emitted_samples=1000)
    after = inbound(buffered_s=10.0 + 480 * 0.04, emitted_samples=1480)
    assert compare(before, after).jitter_buffer_ms == pytest.approx(40.0)


def test_concealment_is_the_share_of_made_up_samples() -> None:
    before = inbound(received_samples=48_000, concealed_samples=4800)
    after = inbound(received_samples=96_000, concealed_samples=5280)
    assert compare(before, after).concealment_ratio == pytest.approx(0.01)


def test_how_a_track_is_held_back_is_told_by_its_name() -> None:
    before = inbound(track="one", buffered_s=10.0, emitted_samples=1000, energy=0.5, sound_s=10.0)
    now = Inbound(
        track="one",
        buffered_s=10.0 + 480 * 0.2,
        emitted_samples=1480,
        energy=0.5 + 0.01,
        sound_s=11.0,
        jitter_s=0.004,
    )
    (hold,) = holds(before, Reading(inbound={"in": now, "idle": Inbound(track="two")}, pair_rtt_s=0.02)).items()
    assert hold[0] == "one"
    assert (hold[1].buffer_ms, hold[1].rms) == (pytest.approx(200.0), pytest.approx(0.1))
    assert (hold[1].jitter_ms, hold[1].rtt_ms) == (pytest.approx(4.0), pytest.approx(20.0))


def test_several_voices_count_together_and_one_that_went_away_counts_no_more() -> None:
    before = Reading(inbound={"gone": Inbound(packets_received=10, packets_lost=10), "a": Inbound()})
    after = Reading(inbound={"a": Inbound(packets_received=60), "b": Inbound(packets_received=30, packets_lost=10)})
    assert compare(before, after).loss_in_ratio == pytest.approx(0.1)


def test_a_stream_whose_id_was_used_again_counts_from_zero() -> None:
    before = inbound(packets_received=1000, packets_lost=900, received_samples=48_000)
    after = inbound(packets_received=10, packets_lost=0, received_samples=480)
    assert compare(before, after).loss_in_ratio == 0.0
    again = compare(outbound(packets_sent=1000, packets_lost=900), outbound(packets_sent=10, packets_lost=1))
    assert again.loss_out_ratio == pytest.approx(0.1)


def test_what_did_not_arrive_is_a_share_of_what_was_sent_and_never_more_than_all() -> None:
    before, after = outbound(packets_sent=100), outbound(packets_sent=200, packets_lost=25)
    assert compare(before, after).loss_out_ratio == pytest.approx(0.25)
    assert compare(before, outbound(packets_sent=110, packets_lost=25)).loss_out_ratio == 1.0


def test_the_receivers_round_trip_wins_over_the_pairs() -> None:
    both = Reading(outbound={"out": Outbound(rtt_s=0.02)}, pair_rtt_s=0.5)
    assert compare(Reading(), both).rtt_ms == pytest.approx(20.0)
    assert compare(Reading(), Reading(pair_rtt_s=0.5)).rtt_ms == pytest.approx(500.0)


def test_the_counters_are_found_in_the_sdks_messages() -> None:
    received, sent, report, pair, candidate, video = (stats_pb2.RtcStats() for _ in range(6))
    received.inbound_rtp.rtc.id, received.inbound_rtp.stream.kind = "in", "audio"
    received.inbound_rtp.received.packets_received = 50
    received.inbound_rtp.inbound.concealed_samples = 30
    received.inbound_rtp.inbound.silent_concealed_samples = 10
    video.inbound_rtp.rtc.id, video.inbound_rtp.stream.kind = "picture", "video"
    sent.outbound_rtp.rtc.id, sent.outbound_rtp.stream.kind = "out", "audio"
    sent.outbound_rtp.sent.packets_sent = 40
    report.remote_inbound_rtp.remote_inbound.local_id = "out"
    report.remote_inbound_rtp.remote_inbound.round_trip_time = 0.03
    report.remote_inbound_rtp.remote_inbound.round_trip_time_measurements = 1
    report.remote_inbound_rtp.received.packets_lost = 2
    pair.candidate_pair.candidate_pair.nominated = True
    pair.candidate_pair.candidate_pair.local_candidate_id = "here"
    candidate.local_candidate.rtc.id = "here"
    candidate.local_candidate.candidate.protocol = "udp"
    reading = read([received, video, sent, report, pair, candidate])
    assert reading.inbound == {"in": Inbound(packets_received=50, concealed_samples=20)}
    assert reading.outbound == {"out": Outbound(40, 2, 0.03)}
    assert reading.path == "udp host"
    assert reading.pair_rtt_s is None
    assert sends_audio(reading)


def test_a_sender_nobody_reported_on_yet_has_no_round_trip() -> None:
    sent = stats_pb2.RtcStats()
    sent.outbound_rtp.rtc.id, sent.outbound_rtp.stream.kind = "out", "audio"
    assert read([sent]).outbound == {"out": Outbound()}
    assert not sends_audio(read([]))
