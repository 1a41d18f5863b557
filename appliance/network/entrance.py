"""The way in: a server is knocked at before anything native is started, and tokens follow its clock."""

from __future__ import annotations

from appliance.network.knock import knock
from appliance.network.servertime import ServerTime
from appliance.network.token import token_source
from appliance.ports import Grant, Knock, TokenSource
from appliance.settings import secrets
from appliance.settings.model import Settings
from appliance.settings.secrets import Right


def entrance(settings: Settings, time: ServerTime) -> TokenSource:
    """The source of rights for these settings' server, which is not our own."""
    asks = secrets.right_of(settings.livekit) is Right.ENDPOINT
    return Entrance(token_source(settings, time), url=None if asks else settings.livekit.url, knock=knock, time=time)


class Entrance:
    """A `ports.TokenSource` whose grants are for a server that answered a moment ago. Loop thread only."""

    def __init__(self, tokens: TokenSource, *, url: str | None, knock: Knock, time: ServerTime) -> None:
        """`url` None: only the grant says where the server is. `time` is what `tokens` takes for the time."""
        self._tokens = tokens
        self._url = url
        self._knock = knock
        self._time = time

    async def grant(self) -> Grant:
        """See `ports.TokenSource`."""
        if self._url is not None:
            await self._ask(self._url)
            return await self._tokens.grant()
        grant = await self._tokens.grant()
        await self._ask(grant.url)
        return grant

    def invalidate(self) -> None:
        """See `ports.TokenSource`."""
        self._tokens.invalidate()

    async def _ask(self, url: str) -> None:
        answer = await self._knock(url)
        self._time.note(answer.server_time)
