"""`JitterBuffer`: sound that comes when the network likes, read when the sound card likes."""

from __future__ import annotations

from typing import Final

import numpy as np

from appliance.audio.drift import WINDOW_S, Envelope
from appliance.audio.pacing import Pacing, best_match
from appliance.audio.pcm import F32, GainRamp, Scratch, peak
from appliance.audio.ring import FrameRing
from appliance.ports import AUDIO_FRAME_MS, Samples

CEILING_MS: Final = 150  # above the playout delay: a burst of so much is kept, more would be an echo of the past
FADE_S: Final = 0.005  # shorter is a click, longer eats consonants
QUIET: Final = 184.0  # −45 dBFS: a crossfade of two pieces that are both softer than this goes unnoticed


class Bench:
    """Scratch memory of one mixer's audio thread; its voices use it one after the other."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz: Final = rate_hz
        self.now_s = 0.0
        """When the block that is being mixed was asked for."""
        self.frame: Final = rate_hz * AUDIO_FRAME_MS // 1000
        self.piece: Final = self.frame * 17 // 16
        """Longest piece that is worked on at once, in samples: 10 ms, and what the rate control takes on top."""
        self.fade: Final = round(FADE_S * rate_hz)
        self.ramp: Final = GainRamp(self.piece)
        self.sound: Final = np.zeros(self.piece, np.float32)
        self.before: Final = Scratch(np.float32, self.fade)
        self.among: Final = Scratch(np.float32, 3 * self.frame)


class JitterBuffer:
    """One stream's sound between its writer and the audio thread.

    It begins to sound when `playout_ms` are there. When some is late, what was last is played again, up to 50 ms of it;
    when more is late, the rest is faded out and it collects anew. If that happens often it waits longer. What waits
    for nothing is cut out where nobody hears it. Beyond `playout_ms` + 150 ms the oldest go. `write` is the writer's,
    `read` and `restart` the audio thread's; the counters may be read by anyone.
    """

    def __init__(self, *, playout_ms: float, bench: Bench) -> None:
        self.begun = False
        """Whether it has sounded since it was made or restarted."""
        self.starved = False
        """Whether the last read wanted more than there was; never before it has begun."""
        self.underruns = 0
        """Times it ran dry."""
        self.bridged = 0
        """Times that some was late and what was last was played again instead."""
        self.trimmed = 0
        """Samples cut out because the delay had grown."""
        self.stretched = 0
        """Samples played twice because some were late, or because it takes a longer wait."""
        self.dropped = 0
        """Samples lost at the ceiling."""
        self._bench = bench
        self._pacing = Pacing(rate_hz=bench.rate_hz, playout_ms=playout_ms)
        self._ring = FrameRing(self._pacing.playout + CEILING_MS * bench.rate_hz // 1000)
        self._arrivals = Envelope(bench.rate_hz)  # the writer notes
        self._departures = Envelope(bench.rate_hz)  # the audio thread notes
        self._windows = 0
        self._taken = 0
        self._collecting = True
        self._interrupted = False

    @property
    def fill(self) -> int:
        """Samples that wait."""
        return self._ring.fill

    @property
    def written(self) -> int:
        """Samples that ever came."""
        return self._ring.written

    @property
    def excess_s(self) -> float | None:
        """By how much longer sound waits than it should; None: not known yet."""
        return None if self._collecting else self._pacing.excess_s

    @property
    def target_s(self) -> float:
        """How long sound should wait."""
        return self._pacing.target_s

    def take_latest_s(self) -> float:
        """How late the latest piece came since the call before: one caller's."""
        return self._arrivals.take_latest_s()

    def write(self, samples: Samples, at_s: float) -> None:
        """Append, shape (n,), that came at that time. Never waits."""
        self._ring.write(samples)
        self._arrivals.note(at_s, self._ring.written)

    def restart(self) -> None:
        """Nobody has read for a while: forget what waits and collect anew."""
        self._ring.clear()
        self._pacing.restart(after_gap=False)
        self._departures.forget()
        self._collecting = self._interrupted = True
        self.begun = self.starved = False

    def read(self, out: F32, block: int, rest: int) -> bool:
        """Fill `out`, at most a frame, with scaled sound; False, and `out` as it was, while there is none.

        `block`: samples that are asked for at once, of which `out` is a piece; the start waits for them. `rest`: those
        of them that have not been read yet, `out` included.
        """
        if self._collecting and self._ring.fill < self._needed(block):
            self.starved = self.begun
            return False
        returns = self._collecting and self._interrupted
        self._collecting, self.begun, self.starved = False, True, False
        self._next(out, rest)
        if returns:  # not at the very beginning: there a decoder comes in softly by itself
            self._bench.ramp.apply(out, 0.0, 1.0, self._bench.fade)
        if not self._collecting:
            self._observe(out.size, last=rest <= out.size)
        return True

    def _observe(self, size: int, *, last: bool) -> None:
        """The pieces of a block are all due when it is; so only its last tells how long sound waits."""
        self._taken += size
        if not last:
            return
        taken, self._taken = self._taken, 0
        self._departures.note(self._bench.now_s, self._ring.position)
        if self._arrivals.windows != self._windows:
            self._windows = self._arrivals.windows
            self._pacing.look(self._arrivals.latest_s, WINDOW_S)
        self._pacing.observe(self._departures.start_s - self._arrivals.start_s, taken)

    def _needed(self, block: int) -> int:
        """What must be there to begin. At first a long block alone will do, and if that was too close, its sound is
        stretched; after a gap it takes the delay on top."""
        extra = max(0, block - self._bench.frame) if self._interrupted else 0
        return min(max(self._pacing.playout + extra, block), self._ring.bound)

    def _next(self, out: F32, rest: int) -> None:
        over = self._ring.behind - self._ring.bound
        if over > 0:
            self._drop(out, over)
        elif self._ring.fill < rest and self._bridge(out, rest):
            pass
        elif self._ring.fill < out.size:
            self._run_dry(out)
        elif not self._correct(out):
            self._copy(out)

    def _copy(self, out: F32) -> None:
        if not self._ring.take(out):
            out.fill(0)

    def _drop(self, out: F32, over: int) -> None:
        self.dropped += over
        self._jump(out, over)
        self._pacing.jumped(over)

    def _run_dry(self, out: F32) -> None:
        """Play what is left, then its mirror image, fading: neither the value nor the loudness jumps."""
        got, fade = self._ring.fill, min(self._bench.fade, out.size)
        self._peek_on(out[: got + fade])
        self._ring.skip(got)
        out[got + fade :] = 0
        begin = min(got, out.size - fade)
        self._bench.ramp.apply(out[begin:], 1.0, 0.0, fade)
        self.underruns += 1
        self._collecting = self._interrupted = self.starved = True
        self._departures.forget()
        self._pacing.restart(after_gap=True)

    def _bridge(self, out: F32, rest: int) -> bool:
        """Some is missing to the end of the block: play so much again, from where the wave is most alike."""
        fill = self._ring.fill
        span = self._pacing.bridge(rest - fill, fill)
        if span is None:
            return False
        jump = self._alike(-span[1], -span[0], out.size)
        if jump:
            self._jump(out, jump)
            self.bridged += not self._pacing.bridging
            self._pacing.bridged(-jump)
            self.stretched -= jump
        return jump != 0

    def _correct(self, out: F32) -> bool:
        """Cut out or play again a little, if that is due and can be done unheard."""
        jump = self._pacing.wanted()
        if not jump or self._ring.fill - jump < out.size:
            return False
        if not self._is_quiet(jump, out.size):
            smallest = self._pacing.smallest
            span = (smallest, jump) if jump > 0 else (jump, -smallest)
            jump = self._alike(*span, out.size) if self._pacing.impatient else 0
        if jump:
            self._make(jump, out)
        return jump != 0

    def _make(self, jump: int, out: F32) -> None:
        self._jump(out, jump)
        self._pacing.jumped(jump)
        self.trimmed += max(0, jump)
        self.stretched += max(0, -jump)

    def _jump(self, out: F32, jump: int) -> None:
        """Go on `jump` samples further (back, if negative), crossfading from what would have come."""
        before = self._bench.before.get(min(self._bench.fade, out.size))
        self._peek_on(before)
        self._ring.skip(jump)
        self._departures.move(jump)
        self._copy(out)
        head = out[: before.size]
        np.subtract(head, before, out=head)
        np.multiply(head, self._bench.ramp.slope(0.0, 1.0, head.size), out=head)
        np.add(head, before, out=head)

    def _is_quiet(self, jump: int, size: int) -> bool:
        look = self._bench.before.get(min(self._bench.fade, size))
        return all(self._peek(look, offset) and peak(look) <= QUIET for offset in (0, jump))

    def _alike(self, first: int, last: int, size: int) -> int:
        """The jump from `first` to `last` whose end looks most like here; 0 when there is not enough to look at."""
        here = self._bench.before.get(min(self._bench.fade, size))
        among = self._bench.among.get(last - first + here.size)
        back = min(0, self._ring.fill - here.size)  # where little is left, what was just played must tell
        if not (self._peek(here, back) and self._peek(among, first + back)):
            return 0
        return first + best_match(here, among)

    def _peek_on(self, out: F32) -> None:
        """What comes next, and where that ends, its mirror image: the value does not jump. Silence if overwritten."""
        there = min(self._ring.fill, out.size)
        mirrored = min(out.size - there, there + self._bench.frame)
        out.fill(0)
        self._peek(out[:there], 0)
        if mirrored and self._peek(out[there : there + mirrored], there - mirrored):
            out[there : there + mirrored] = out[there : there + mirrored][::-1].copy()

    def _peek(self, out: F32, offset: int) -> bool:
        if self._ring.peek(out, offset):
            return True
        out.fill(0)
        return False
