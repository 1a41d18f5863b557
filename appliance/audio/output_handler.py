"""`AudioOutputHandler`: the loudspeaker, which pulls what it plays from the mixer."""

from __future__ import annotations

import time
from collections.abc import Callable

from appliance.audio.callback import CallbackMeter
from appliance.audio.config import AudioConfig
from appliance.audio.convert import PlaybackConverter
from appliance.audio.hurry import Hurry
from appliance.audio.mixer import AudioMixer
from appliance.audio.opening import open_first, set_hardware_level
from appliance.audio.pcm import LevelMeter
from appliance.audio.reference import Reference
from appliance.ports import AudioBackend, AudioStream, Block, Clock, Direction, Samples


class AudioOutputHandler:
    """Opens the speaker; its callback pulls from the mixer, resamples, measures and puts it on all channels.

    `open` and `close` block: on the device worker only. The callback is the audio thread's. The rest: any thread.
    The volume is the mixer's master volume.
    """

    def __init__(
        self,
        *,
        config: AudioConfig,
        backend: AudioBackend,
        clock: Clock,
        source: AudioMixer,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`sleep`: what the audio thread waits with when the device asks too early."""
        self.config = config
        """Taken up by the next `open`; `sample_rate` must stay what it was."""
        self.latency_times = 1
        """As often as usual is the device to hold what is usual; taken up by the next `open`."""
        self.reference = Reference(config.sample_rate)
        """What leaves the speaker, for an echo canceller."""
        self._backend = backend
        self._source = source
        self._clock = clock
        self._sleep = sleep
        self._hurry = Hurry()
        self._waited_s = 0.0
        self._callbacks = CallbackMeter(clock)
        self._meter = LevelMeter(config.block_samples(Direction.OUTPUT))
        self._stream: AudioStream | None = None
        self._converter: PlaybackConverter | None = None

    def open(self) -> None:
        """Open and start; what was open is closed first. Raises AudioError. Blocks."""
        self.close()
        config = self.config
        block_s = config.block_s(Direction.OUTPUT)
        self._callbacks.opened(block_s, self.latency_s)
        self._hurry.opened(block_s)
        self._stream = stream = open_first(
            backend=self._backend,
            name=config.output_device,
            direction=Direction.OUTPUT,
            config=config,
            callback=self._audio_callback,
            times=self.latency_times,
        )
        set_hardware_level(self._backend, stream, Direction.OUTPUT, config.output_control)
        self._source.restart()
        self.reference.opened(stream.rate_hz)
        self._converter = PlaybackConverter(
            device_hz=stream.rate_hz,
            rate_hz=config.sample_rate,
            block_frames=config.block_samples(Direction.OUTPUT),
            pull=self._source.mix_into,
            speed=self._speed,
        )

    def close(self) -> None:
        """Stop and free the device; idempotent. Blocks, up to 0.3 s."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        self._converter = None

    @property
    def device(self) -> str:
        """The ALSA name that is open, else the name that is wanted."""
        stream = self._stream
        return stream.pcm if stream is not None else self.config.output_device or "default"

    @property
    def stream(self) -> AudioStream | None:
        """The device as it is open now; None while it is not."""
        return self._stream

    @property
    def latency_s(self) -> float:
        """How much sound the device is asked to hold when it is opened next."""
        return self.config.latency_s(Direction.OUTPUT, self.latency_times)

    @property
    def accidents(self) -> int:
        """How often the device ran dry, ever."""
        return self._callbacks.xruns

    @property
    def last_block_at(self) -> float | None:
        """`clock.monotonic()` of the last callback; None: there was none yet."""
        return self._callbacks.last_block_at

    def _audio_callback(self, out: Block, underflowed: bool) -> None:
        self._wait()
        if underflowed:
            self.reference.interrupted()
        if not self._callbacks.run(self._play, out, underflowed):
            out.fill(0)

    def _wait(self) -> None:
        """Not in a hurry: see `hurry`."""
        stream = self._stream
        self._waited_s = self._hurry.wait_s(self._clock.monotonic(), stream.delay_s) if stream is not None else 0.0
        if self._waited_s > 0.0:
            self._sleep(self._waited_s)

    def _play(self, out: Block) -> None:
        converter = self._converter
        if converter is None:
            out.fill(0)  # the first blocks may be asked for before the rate is known
        else:
            played = converter.fill(out)
            self._meter.add(played)
            self._keep(played)

    def _keep(self, played: Samples) -> None:
        stream, now_s = self._stream, self._callbacks.last_block_at
        if stream is not None and now_s is not None:
            self.reference.played(played, now_s + stream.delay_s - self._waited_s)

    def _speed(self) -> float:
        return self._source.speed

    def get_metrics(self) -> dict[str, object]:
        """Counters since the start; levels (dBFS) and what is longest since the call before: one caller's.

        `frames`: of the device, at `rate_hz`; `underruns`: blocks for which no voice that had begun had sound;
        `xruns`: blocks before which the device itself ran out; `clipped`: samples at a rail.
        """
        stream, callbacks = self._stream, self._callbacks
        level_dbfs, peak_dbfs = self._meter.take()
        return {
            "device": self.device,
            "open": stream is not None,
            "frames": callbacks.frames,
            "blocks": callbacks.blocks,
            "underruns": self._source.underruns,
            "xruns": callbacks.xruns,
            "level_dbfs": round(level_dbfs, 1),
            "peak_dbfs": round(peak_dbfs, 1),
            "clipped": self._meter.clipped,
            "rate_hz": stream.rate_hz if stream else 0,
            "channels": stream.channels if stream else 0,
            "latency_ms": round(stream.latency_s * 1000, 1) if stream else 0.0,
            **callbacks.take_figures(),
            "early_calls": self._hurry.calls,
            "errors": callbacks.errors,
        }
