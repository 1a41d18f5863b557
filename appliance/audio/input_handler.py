"""`AudioInputHandler`: the microphone, from the device's blocks to 10 ms frames for the network."""

from __future__ import annotations

from typing import Final

import numpy as np

from appliance.audio.callback import CallbackMeter
from appliance.audio.config import AudioConfig
from appliance.audio.convert import CaptureConverter
from appliance.audio.drift import Envelope
from appliance.audio.opening import open_first, set_hardware_level
from appliance.audio.pcm import F32, GainRamp, LevelMeter, Scratch, checked_volume, store_int16
from appliance.audio.ring import FrameRing
from appliance.audio.timed import TimedFrames
from appliance.ports import AudioBackend, AudioStream, Block, Clock, Direction
from appliance.seam import join, remember, tail_of

WAITING_S: Final = 0.1  # as much as a hiccup of the event loop; what is older is better lost than late


class AudioInputHandler:
    """Opens the microphone; its callback mixes to mono, resamples, applies the gain, measures and hands on.

    `open` and `close` block: on the device worker only. The callback is the audio thread's. The rest: any thread.
    """

    def __init__(self, *, config: AudioConfig, backend: AudioBackend, clock: Clock) -> None:
        self.config = config
        """Taken up by the next `open`; `sample_rate` must stay what it was."""
        self.latency_times = 1
        """As often as usual is the device to hold what is usual; taken up by the next `open`."""
        self.frames: Final = FrameRing(max(round(WAITING_S * config.sample_rate), 2 * config.samples_per_channel))
        """What was captured and nobody has taken yet; 100 ms, the oldest go."""
        self._captured = Envelope(config.sample_rate)
        self._handed = Envelope(config.sample_rate)
        self.timed: Final = TimedFrames(
            source=self.frames, captured=self._captured, handed=self._handed, rate_hz=config.sample_rate
        )
        """Where the network takes its frames. The loop's."""
        self._backend = backend
        self._callbacks = CallbackMeter(clock)
        self._meter = LevelMeter(config.samples_per_channel)
        self._volume = checked_volume(config.input_volume)
        self._gain = self._volume
        self._ramp = GainRamp(config.samples_per_channel)
        self._pcm = Scratch(np.int16, config.samples_per_channel)
        self._tail = tail_of(config.sample_rate)
        self._lost = False
        self._stream: AudioStream | None = None
        self._converter: CaptureConverter | None = None

    def open(self) -> None:
        """Open and start; what was open is closed first. Raises AudioError. Blocks."""
        self.close()
        config = self.config
        self._callbacks.opened(config.block_s(Direction.INPUT), self.latency_s)
        self._forget_times()
        self._stream = stream = open_first(
            backend=self._backend,
            name=config.input_device,
            direction=Direction.INPUT,
            config=config,
            callback=self._audio_callback,
            times=self.latency_times,
        )
        set_hardware_level(self._backend, stream, Direction.INPUT, config.input_control)
        self._converter = CaptureConverter(
            device_hz=stream.rate_hz,
            rate_hz=config.sample_rate,
            block_frames=config.samples_per_channel,
            channel=config.input_channel,
        )

    def close(self) -> None:
        """Stop and free the device; idempotent. Blocks, up to 0.3 s."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        self._converter = None

    def set_volume(self, volume: float) -> None:
        """Gain of the microphone, 0.0 to 4.0, reached within a block without a click. Raises ValueError."""
        self._volume = checked_volume(volume)

    @property
    def volume(self) -> float:
        """Gain of the microphone."""
        return self._volume

    @property
    def device(self) -> str:
        """The ALSA name that is open, else the name that is wanted."""
        stream = self._stream
        return stream.pcm if stream is not None else self.config.input_device or "default"

    @property
    def stream(self) -> AudioStream | None:
        """The device as it is open now; None while it is not."""
        return self._stream

    @property
    def latency_s(self) -> float:
        """How much sound the device is asked to hold when it is opened next."""
        return self.config.latency_s(Direction.INPUT, self.latency_times)

    @property
    def accidents(self) -> int:
        """How often the device lost sound because it was not read in time, ever."""
        return self._callbacks.xruns

    @property
    def last_block_at(self) -> float | None:
        """`clock.monotonic()` of the last callback; None: there was none yet."""
        return self._callbacks.last_block_at

    def _audio_callback(self, block: Block, overflowed: bool) -> None:
        if overflowed:
            self._forget_times()
        self._lost |= overflowed
        self._callbacks.run(self._capture, block, overflowed)

    def _capture(self, block: Block) -> None:
        converter = self._converter
        if converter is None:
            return  # the first blocks may come before the rate is known; nobody waits for them yet
        scaled = converter.convert(block)
        pcm = self._pcm.get(scaled.size)
        self._amplify(scaled)
        store_int16(scaled, pcm)
        if self._lost:
            self._lost = False
            join(pcm, self._tail)
        remember(pcm, self._tail)
        self._meter.add(pcm)
        self._note_time()
        self.frames.write(pcm)

    def _note_time(self) -> None:
        stream, now_s = self._stream, self._callbacks.last_block_at
        if stream is not None and now_s is not None:
            self._captured.note(now_s - stream.delay_s, self.frames.written)
            self._handed.note(now_s, self.frames.written)

    def _forget_times(self) -> None:
        self._captured.forget()
        self._handed.forget()

    def _amplify(self, scaled: F32) -> None:
        before, self._gain = self._gain, self._volume
        self._ramp.apply(scaled, before, self._gain)

    def get_metrics(self) -> dict[str, object]:
        """Counters since the start; levels (dBFS) and what is longest since the call before: one caller's.

        `frames`: of the device, at `rate_hz`; `overruns`: blocks before which the device lost sound; `dropped`:
        samples that the network took too late; `clipped`: samples at a rail, after the gain.
        """
        stream, callbacks = self._stream, self._callbacks
        level_dbfs, peak_dbfs = self._meter.take()
        return {
            "device": self.device,
            "open": stream is not None,
            "frames": callbacks.frames,
            "blocks": callbacks.blocks,
            "overruns": callbacks.xruns,
            "dropped": self.frames.dropped,
            "level_dbfs": round(level_dbfs, 1),
            "peak_dbfs": round(peak_dbfs, 1),
            "clipped": self._meter.clipped,
            "rate_hz": stream.rate_hz if stream else 0,
            "channels": stream.channels if stream else 0,
            "latency_ms": round(stream.latency_s * 1000, 1) if stream else 0.0,
            **callbacks.take_figures(),
            "errors": callbacks.errors,
            "drift_ppm": round(self.timed.drift_ppm, 1),
        }
