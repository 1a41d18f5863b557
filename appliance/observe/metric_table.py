"""The figures of the event `metrics`. Data for `events.py`.

Counters count from the start of the session (the room joined); gauges are of the moment or, where they say so, of the
time since the line before. A figure that is not known (yet) is null.
"""

from __future__ import annotations

from typing import Final

from appliance.observe.events import Metric


def _leg(leg: str, who: str, *accidents: tuple[str, str, str]) -> tuple[Metric, ...]:
    """The figures that microphone and speaker share, and their (name, unit, meaning) that differ."""
    return (
        Metric(f"{leg}.device", "name", f"the {who}'s ALSA name", "the one you configured"),
        Metric(f"{leg}.open", "flag", f"whether the {who} runs", "true"),
        Metric(f"{leg}.frames", "samples", "sound of one channel that went through", "grows by rate_hz a second"),
        Metric(f"{leg}.blocks", "blocks", "calls of the device", "grows by 1000 / (a block in ms) a second"),
        *(Metric(f"{leg}.{name}", unit, meaning, "0 after the first seconds") for name, unit, meaning in accidents),
        Metric(f"{leg}.level_dbfs", "dBFS", "level (RMS) since the line before", "speech −30 to −15; silence < −50"),
        Metric(f"{leg}.peak_dbfs", "dBFS", "highest sample since the line before", "below −1"),
        Metric(f"{leg}.clipped", "samples", "samples at full scale", "0 or rarely growing; else lower the volume"),
        Metric(f"{leg}.rate_hz", "Hz", "the device's rate; 0: closed", "48000: no resampling"),
        Metric(f"{leg}.channels", "number", "the device's channels; 0: closed", "1 or 2"),
        Metric(f"{leg}.latency_ms", "ms", "delay that the device layer adds", "below 50"),
        Metric(
            f"{leg}.callback_ms_p50",
            "ms",
            "what half of the calls take at most, over half a minute to two",
            "below 0.5",
        ),
        Metric(f"{leg}.callback_ms_p99", "ms", "what all but one call in a hundred take at most", "below 1"),
        Metric(f"{leg}.callback_ms_max", "ms", "longest call since the line before", "below half of a block"),
        Metric(
            f"{leg}.callback_gap_ms_max",
            "ms",
            "longest time from one call to the next since the line before",
            "below two blocks; more: the board was busy",
        ),
        Metric(
            f"{leg}.late_calls",
            "number",
            "calls that came so long after the one before that all that the device was asked to hold was over",
            "rarely growing; more: the board was busy",
            counter=True,
        ),
        Metric(f"{leg}.errors", "number", "calls in which alto itself failed (a bug)", "0", counter=True),
    )


METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        "network.state", "word", "idle, connecting, connected, reconnecting, closed; offline: no session", "connected"
    ),
    Metric("network.participants", "number", "others in the room", "as many as you expect"),
    Metric("network.streams", "number", "microphones of others that are heard", "as network.participants"),
    Metric(
        "network.parked",
        "number",
        "others whose microphone is not played, because as many as audio.max_streams spoke later",
        "0 in a room that is no larger",
    ),
    Metric("network.frames_sent", "10 ms frames", "sound handed to the encoder", "grows by 100 a second"),
    Metric("network.silence_frames", "10 ms frames", "silence sent for want of a microphone", "constant"),
    Metric("network.frames_received", "10 ms frames", "sound of all others together", "grows by 100 a second each"),
    Metric("network.frames_dropped", "10 ms frames", "sound that came and was not taken in time", "0"),
    Metric("network.rtt_ms", "ms", "to the server and back", "below 5 in a LAN, below 80 over the Internet"),
    Metric("network.loss_in_ratio", "0 to 1", "packets that did not come, over the last seconds", "below 0.01"),
    Metric("network.loss_out_ratio", "0 to 1", "packets that did not arrive there, the same way", "below 0.01"),
    Metric("network.jitter_buffer_ms", "ms", "sound held back against uneven arrival", "40 to 80"),
    Metric("network.concealment_ratio", "0 to 1", "sound that was made up for lost packets", "below 0.01"),
    Metric("network.reconnects", "number", "times that the SDK mended the connection", "constant", counter=True),
    Metric(
        "network.path", "words", "transport in use: udp host, udp srflx, tcp host, udp relay, …", "udp host or srflx"
    ),
    *_leg(
        "input",
        "microphone",
        ("overruns", "blocks", "blocks before which the sound card lost sound because it was read too late"),
        ("dropped", "samples", "sound that the network did not take in time; the oldest goes"),
    ),
    Metric("input.drift_ppm", "ppm", "how much slower the microphone is than it says", "−150 to 150, steady"),
    *_leg(
        "output",
        "speaker",
        ("underruns", "blocks", "blocks that became silence although somebody was talking"),
        ("xruns", "blocks", "blocks before which the sound card ran dry because it was fed too late"),
    ),
    Metric(
        "output.early_calls",
        "number",
        "calls that came right after the one before and were kept waiting, so that delay does not grow",
        "0; with a sound server it may grow",
        counter=True,
    ),
    Metric("mixer.streams", "number", "voices that could sound", "as network.streams"),
    Metric("mixer.sounding", "number", "voices that sound now", "as many as talk"),
    Metric("mixer.underruns", "blocks", "blocks for which no voice that had begun had sound", "rarely growing"),
    Metric("mixer.errors", "blocks", "blocks in which mixing failed (a bug); they are silent", "0"),
    Metric("mixer.drift_ppm", "ppm", "how much more of ours the speaker takes than it says", "−150 to 150, steady"),
    Metric(
        "mixer.trimmed_ms",
        "ms",
        "sound cut out after a burst, so that delay does not stay",
        "rarely growing",
        counter=True,
    ),
    Metric("mixer.stretched_ms", "ms", "sound played twice where some was late", "rarely growing", counter=True),
    Metric(
        "mixer.bridged",
        "number",
        "times that some of a voice was late and its last periods were played again",
        "rarely growing; more: the loop or the SDK is held up",
        counter=True,
    ),
    Metric("mixer.dropped", "samples", "sound that did not fit a voice's buffer", "0"),
    Metric("mixer.per_stream", "object", "the voices by their id; the figures below", "one for each talker"),
    Metric("mixer.per_stream.<id>.owner", "name", "whose voice it is", "a participant's identity"),
    Metric("mixer.per_stream.<id>.level_dbfs", "dBFS", "level (RMS) since the line before", "speech −30 to −15"),
    Metric("mixer.per_stream.<id>.buffer_ms", "ms", "sound that waits to be played", "around audio.playout_ms"),
    Metric(
        "mixer.per_stream.<id>.target_ms",
        "ms",
        "how long sound should wait",
        "audio.playout_ms − 5; more: frames are late",
    ),
    Metric("mixer.per_stream.<id>.volume", "factor", "its volume", "as in audio.volumes"),
    Metric(
        "mixer.per_stream.<id>.late_ms_max",
        "ms",
        "how late the latest 10 ms came since the line before, after the SDK's own buffer",
        "below target_ms − 10; more: the board was busy",
    ),
    Metric(
        "mixer.per_stream.<id>.bridged",
        "number",
        "times that some was late and the last periods were played again",
        "rarely growing",
    ),
    Metric("mixer.per_stream.<id>.underruns", "number", "times that the voice ran dry", "rarely growing"),
    Metric("mixer.per_stream.<id>.frames", "samples", "sound received of it", "grows by 48000 a second"),
    *(
        Metric(f"processing.{name}", "flag", f"whether {what} runs", "as in audio.input.processing")
        for name, what in (
            ("echo_cancellation", "the echo canceller"),
            ("noise_suppression", "the noise suppression"),
            ("gain_control", "the gain control"),
            ("high_pass", "the high-pass filter"),
        )
    ),
    Metric("processing.duplex", "word", "who may speak when: full, ducking, half", "as in audio.duplex"),
    Metric(
        "processing.erle_db",
        "dB",
        "by how much the microphone was made softer while the speaker sounded, since the line before; null: it did not",
        "above 20 while nobody speaks here",
    ),
    Metric("processing.delay_ms", "ms", "by how much the speaker's sound is known before its echo", "10"),
    Metric("processing.misses", "10 ms frames", "frames without the speaker's sound to compare", "rarely growing"),
    Metric("process.cpu_ratio", "1 = one core", "processor time since the line before", "below 0.4 on a Pi 4"),
    Metric("process.rss_bytes", "bytes", "memory in use", "constant after the first hour, about 100 MB"),
    Metric("process.threads", "number", "threads", "constant, about 25"),
    Metric("process.fds", "number", "open files and sockets", "constant, below 100"),
    Metric("process.uptime_s", "s", "since the process started", "growing"),
    Metric("process.loop_lag_ms_max", "ms", "longest time that the event loop was late, since the line before", "< 20"),
    Metric("process.loop_stalls", "number", "times that the event loop was 50 ms late or more", "rarely growing"),
    Metric(
        "process.gc_ms_max", "ms", "longest garbage collection since the line before: no Python thread runs", "below 5"
    ),
    Metric("process.gc_stalls", "number", "garbage collections of 5 ms or more", "rarely growing", counter=True),
    Metric("process.log_lines_dropped", "lines", "log lines that nobody took", "0"),
)
