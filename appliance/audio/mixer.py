"""`AudioMixer`: many voices in, one block out. Never waits for a voice, never stops for one that stalls."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

import numpy as np

from appliance.audio.drift import RateControl
from appliance.audio.jitter import Bench
from appliance.audio.limiter import Limiter
from appliance.audio.pcm import F32, Scratch, checked_volume, store_int16, to_int16
from appliance.audio.ring import FrameRing
from appliance.audio.voice import Voice
from appliance.clock import SystemClock
from appliance.ports import Clock, Samples

ATTACK_S: Final = 0.005  # a voice that begins is made room for within this, at the start of the block that brings it
RELEASE_S: Final = 0.3  # in which the room of one voice is given back: 6 dB in 0.3 s is not heard as pumping
EXCESS_MAX_S: Final = 0.01  # what is more is being cut out of that voice, and is not the others' business
LEAVING_KEPT: Final = 16  # voices that fade out; when nobody reads (no speaker) nothing fades, so the oldest just go


class AudioMixer:
    """Averages the voices that sound (`mix="average"`) or adds them under a limiter (`mix="sum"`).

    All that is sounding: `clip(sum(volume_i * x_i) / n * master)` in int16. A voice counts in `n` while its sound,
    times its volume, is above −60 dBFS and 0.4 s longer; so who is silent makes nobody softer.

    `mix_into` and `get_audio_data` belong to one reader, the audio thread; it takes no lock. Everything else may be
    called from any thread; one writer at a time for each stream.
    """

    def __init__(
        self,
        sample_rate: int = 48000,
        num_channels: int = 1,
        *,
        volume: float = 1.0,
        mix: str = "average",
        playout_ms: int = 20,
        clock: Clock | None = None,
    ) -> None:
        if num_channels != 1:
            raise ValueError(f"num_channels {num_channels}: the mixer is mono")
        if mix not in ("average", "sum"):
            raise ValueError(f"mix {mix!r}: average or sum")
        self.sample_rate: Final = sample_rate
        self.num_channels: Final = num_channels
        self.underruns = 0
        """Blocks that no voice could fill although at least one had begun."""
        self.errors = 0
        """Blocks that became silence because of a fault in the mixer itself."""
        self._averages = mix == "average"
        self._playout_ms = playout_ms
        self._clock = clock or SystemClock()
        self._bench = Bench(sample_rate)
        self._rate = RateControl(sample_rate)
        self._pcm = Scratch(np.int16, self._bench.piece)
        self._limiter = Limiter(sample_rate, self._bench.ramp)
        self._duck = 1.0
        self._master = checked_volume(volume)
        # Of the audio thread.
        self._gain = self._master
        self._divisor = 1.0
        self._silent = True
        # Changed under the lock, replaced whole; the audio thread reads them without it.
        self._changes = threading.Lock()
        self._voices: tuple[Voice, ...] = ()
        self._taps: tuple[FrameRing, ...] = ()
        self._restart = False
        # Under the lock only.
        self._by_id: dict[str, Voice] = {}
        self._volumes: dict[str, float] = {}
        self._gone_trimmed = 0
        self._gone_stretched = 0
        self._gone_dropped = 0
        self._gone_bridged = 0

    # ---- those who speak (`ports.VoiceSink`)

    def add_audio_data(self, audio_data: Samples, stream_id: str = "default") -> None:
        """Append int16 (or unit float32) to a stream, shape (n,); makes the stream if there is none of that name."""
        voice = self._by_id.get(stream_id) or self._open(stream_id, owner=None)
        voice.write(to_int16(audio_data), self._clock.monotonic())

    def open_stream(self, stream_id: str, *, owner: str) -> None:
        """Announce a stream whose volume follows `owner`. A stream that is there already only changes its owner."""
        self._open(stream_id, owner=owner)

    def remove_stream(self, stream_id: str) -> None:
        """Fade the stream out and forget it; its owner's volume is kept. Unknown: nothing happens."""
        with self._changes:
            voice = self._by_id.pop(stream_id, None)
            if voice is not None:
                voice.leaving = True
                self._prune()

    def _open(self, stream_id: str, owner: str | None) -> Voice:
        with self._changes:
            voice = self._by_id.get(stream_id)
            if voice is None:
                voice = self._make(stream_id, owner or stream_id)
                self._by_id[stream_id] = voice
                self._prune(voice)
            elif owner is not None:
                voice.owner, voice.volume = owner, self._volumes.get(owner, 1.0)
            return voice

    def _make(self, stream_id: str, owner: str) -> Voice:
        volume = self._volumes.get(owner, 1.0)
        return Voice(stream_id, owner=owner, volume=volume, playout_ms=self._playout_ms, bench=self._bench)

    def _prune(self, *more: Voice) -> None:
        """Replace the tuple: without those that have faded out, with `more`."""
        leaving = [voice for voice in self._voices if voice.leaving and not voice.finished][-LEAVING_KEPT:]
        kept = [voice for voice in self._voices if not voice.leaving or voice in leaving]
        for gone in set(self._voices).difference(kept):
            self._gone_trimmed += gone.buffer.trimmed
            self._gone_stretched += gone.buffer.stretched
            self._gone_dropped += gone.buffer.dropped
            self._gone_bridged += gone.buffer.bridged
        self._voices = (*kept, *more)

    # ---- volumes

    def set_stream_volume(self, owner: str, volume: float) -> None:
        """Play all streams of `owner` at 0.0 to 4.0, now and whenever it comes back. Raises ValueError."""
        volume = checked_volume(volume)
        with self._changes:
            self._volumes[owner] = volume
            for voice in self._by_id.values():
                if voice.owner == owner:
                    voice.volume = volume

    def get_stream_volume(self, owner: str) -> float:
        """The volume of `owner`; 1.0 when none was set."""
        return self._volumes.get(owner, 1.0)

    @property
    def stream_volumes(self) -> Mapping[str, float]:
        """All volumes that were set, by owner; a copy."""
        with self._changes:
            return dict(self._volumes)

    @property
    def master_volume(self) -> float:
        """Gain of the whole, 0.0 to 4.0; the setter raises ValueError. A change takes one frame, without a click."""
        return self._master

    @master_volume.setter
    def master_volume(self, volume: float) -> None:
        self._master = checked_volume(volume)

    def set_duck(self, gain: float) -> None:
        """Multiply the master volume by this as well, while somebody speaks here: within a block, without a click."""
        self._duck = gain

    # ---- he who listens: the audio thread

    @property
    def speed(self) -> float:
        """How many samples to take of the mix for each that is played, so that no voice waits longer and longer or
        runs dry: 1.0, give or take what the clocks differ."""
        return self._rate.speed

    def restart(self) -> None:
        """Have the next block begin with what comes from now on: nobody has read for a while. Any thread."""
        self._restart = True

    def get_audio_data(self, num_samples: int) -> Samples:
        """Mix one block. Returns int16, shape (num_samples,); silence where there is nothing. Never raises."""
        mixed = np.zeros(max(0, num_samples), np.float32)
        self.mix_into(mixed)
        return store_int16(mixed, np.empty(mixed.size, np.int16))

    def mix_into(self, out: F32) -> None:
        """Mix one block into `out`, shape (n,), scaled and not clipped yet. Allocates nothing that stays. Audio thread.
        Never raises."""
        try:
            self._mix(out)
            self._tell_taps(out)
        except Exception:  # a fault here must be a number and silence, not the end of the stream
            self.errors += 1
            out.fill(0)

    def _mix(self, out: F32) -> None:
        voices = self._voices
        self._bench.now_s = self._clock.monotonic()
        if self._restart:
            self._restart = False
            self._rate.restart()
            for voice in voices:
                voice.restart()
        pieces = -(-out.size // self._bench.piece)
        for piece in range(pieces):
            begin, end = out.size * piece // pieces, out.size * (piece + 1) // pieces
            self._mix_piece(voices, out[begin:end], out.size, out.size - begin)
        self._count_underrun(voices)
        if self._rate.played(out.size, self._bench.now_s):
            self._rate.control(_mean_excess_s(voices))

    def _mix_piece(self, voices: tuple[Voice, ...], total: F32, block: int, rest: int) -> None:
        total.fill(0)
        sounding = 0
        for voice in voices:
            if not voice.finished:
                voice.add_to(total, block, rest)
                sounding += voice.sounding
        self._scale(total, sounding)

    def _scale(self, total: F32, sounding: int) -> None:
        """Divide by those who sound, apply the master volume, limit a sum; by no step that anyone hears."""
        divisor, gain = self._divisor, self._gain
        eased = divisor - total.size / (RELEASE_S * self.sample_rate)
        self._divisor = max(1.0, sounding, eased) if self._averages else 1.0
        self._gain = self._master * self._duck / self._divisor
        over = round(ATTACK_S * self.sample_rate) if self._divisor > divisor else None
        self._bench.ramp.apply(total, self._gain if self._silent else gain, self._gain, over)
        self._silent = not sounding
        if not self._averages:
            self._limiter.apply(total)

    def _count_underrun(self, voices: tuple[Voice, ...]) -> None:
        begun = False
        for voice in voices:
            if voice.buffer.begun and not voice.leaving:
                begun = True
                if not voice.buffer.starved:
                    return
        self.underruns += begun

    # ---- taps and numbers

    def _tell_taps(self, mixed: F32) -> None:
        if self._taps:
            pcm = store_int16(mixed, self._pcm.get(mixed.size))
            for tap in self._taps:
                tap.write(pcm)

    def add_tap(self, ring: FrameRing) -> None:
        """Have every mixed block written to `ring` too. It takes nothing from the speaker."""
        with self._changes:
            self._taps = (*self._taps, ring)

    def remove_tap(self, ring: FrameRing) -> None:
        """No more of that. Unknown: nothing happens."""
        with self._changes:
            self._taps = tuple(tap for tap in self._taps if tap is not ring)

    def get_metrics(self) -> dict[str, object]:
        """Streams, those that sound, underruns (blocks), errors (blocks), what was trimmed and stretched (ms), how
        often late sound was bridged, what was dropped at the ceiling (samples), and `per_stream`. Levels are since the
        call before: one caller's."""
        with self._changes:
            self._prune()
            voices, by_id = self._voices, dict(self._by_id)
        buffers = [voice.buffer for voice in voices]
        trimmed = self._gone_trimmed + sum(buffer.trimmed for buffer in buffers)
        stretched = self._gone_stretched + sum(buffer.stretched for buffer in buffers)
        return {
            "streams": len(by_id),
            "sounding": sum(voice.sounding for voice in by_id.values()),
            "underruns": self.underruns,
            "errors": self.errors,
            "drift_ppm": round(self._rate.correction_ppm, 1),
            "trimmed_ms": self._ms(trimmed),
            "stretched_ms": self._ms(stretched),
            "bridged": self._gone_bridged + sum(buffer.bridged for buffer in buffers),
            "dropped": self._gone_dropped + sum(buffer.dropped for buffer in buffers),
            "per_stream": {stream_id: voice.get_metrics() for stream_id, voice in by_id.items()},
        }

    def _ms(self, samples: int) -> float:
        return round(1000 * samples / self.sample_rate, 1)


def _mean_excess_s(voices: tuple[Voice, ...]) -> float | None:
    """By how much longer the voices wait than they should. They come on one clock, so one rate is right for all."""
    total, count = 0.0, 0
    for voice in voices:
        excess_s = voice.buffer.excess_s
        if excess_s is not None and not voice.leaving:
            total += max(-EXCESS_MAX_S, min(EXCESS_MAX_S, excess_s))
            count += 1
    return total / count if count else None
