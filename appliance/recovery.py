"""A broken connection, while the SDK mends it: how long to wait for that, decided by asking the server itself."""

from __future__ import annotations

import asyncio
import random
from typing import Final

from appliance.errors import AltoError, Stalled, Unmended
from appliance.ports import Clock, Session

ASK_EVERY_S: Final = 0.5  # between two questions; one to a server that is silent takes longer by itself
GRACE_S: Final = 0.7  # the SDK's own full reconnect to a server that answers takes 0.3–0.5 s (measured)


class Recovery:
    """One break of one session. Loop thread only.

    The SDK tries again after pauses of up to 7 s, and notices a frozen server only after 14 s; a person at a door has
    gone by then. So the server is asked over and over whether it answers, and when it does and the SDK has not
    mended the session within `GRACE_S`, a new one is the quicker way.
    """

    def __init__(self, session: Session, clock: Clock, *, rng: random.Random, patience_s: float) -> None:
        """`rng` says when the first question is asked: hundreds of stations notice the end of a server together."""
        self._session = session
        self._clock = clock
        self._patience_s = patience_s
        self._since = clock.monotonic()
        self._answers_since: float | None = None
        self._asking = asyncio.create_task(self._ask(rng.uniform(0.0, ASK_EVERY_S)), name="recovery")

    def judge(self) -> None:
        """Returns while waiting is right. Raises Unmended or Stalled when a new session is."""
        now = self._clock.monotonic()
        if self._answers_since is not None and now - self._answers_since > GRACE_S:
            raise Unmended(f"the server answers again, the session did not come back within {GRACE_S:g} s")
        if now - self._since > self._patience_s:
            raise Stalled(f"the connection did not come back within {self._patience_s:g} s")

    async def close(self) -> None:
        """Ask no more. Idempotent."""
        self._asking.cancel()
        await asyncio.wait({self._asking})

    async def _ask(self, first_s: float) -> None:
        await asyncio.sleep(first_s)
        while True:
            try:
                await self._session.knock()
            except AltoError:
                self._answers_since = None
            else:
                self._answers_since = self._answers_since or self._clock.monotonic()
            await asyncio.sleep(ASK_EVERY_S)
