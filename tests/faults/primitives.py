"""What can be done to a stage: each fault is in force inside its `async with`, and over when that is left."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from livekit import api

from tests.faults.stage import ROOM, Stage

RESTARTED_AFTER_S: Final = 1.0  # systemd's RestartSec of alto.service
STORM: Final = 100
"""SIGHUPs in one burst."""


# ---- the server ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def server_killed(stage: Stage) -> AsyncIterator[None]:
    """A power cut of the server; over when it listens again."""
    stage.server.kill()
    yield
    stage.server.start()


@asynccontextmanager
async def server_frozen(stage: Stage) -> AsyncIterator[None]:
    """SIGSTOP: its kernel still takes connections, and nothing answers."""
    stage.server.freeze()
    yield
    stage.server.thaw()


@asynccontextmanager
async def server_drained(stage: Stage) -> AsyncIterator[None]:
    """An administrator restarts it in order."""
    stage.server.terminate()
    yield
    stage.server.start()


@asynccontextmanager
async def server_with_other_keys(stage: Stage) -> AsyncIterator[None]:
    """It comes back with keys that the stations do not have; over when it has the old ones again."""
    right = stage.server.api_secret
    stage.server.kill()
    stage.server.api_secret = secrets.token_urlsafe(36)
    stage.server.start()
    yield
    stage.server.kill()
    stage.server.api_secret = right
    stage.server.start()


@asynccontextmanager
async def room_deleted(stage: Stage) -> AsyncIterator[None]:
    """Somebody deletes the room through the server's API."""
    stage.administer(lambda server: server.room.delete_room(api.DeleteRoomRequest(room=ROOM)))
    yield


@asynccontextmanager
async def participant_removed(stage: Stage) -> AsyncIterator[None]:
    """Somebody removes the first station from the room; over when a person tells it to try again (SIGHUP)."""
    who = stage.names[0]
    request = api.RoomParticipantIdentity(room=ROOM, identity=who)
    stage.administer(lambda server: server.room.remove_participant(request))
    yield
    stage.stations[who].signal(signal.SIGHUP)


# ---- the network ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def cable_pulled(stage: Stage) -> AsyncIterator[None]:
    """The first station's cable is out: its carrier is gone, its address stays."""
    machine = stage.machines[stage.names[0]]
    machine.unplug()
    yield
    machine.plug()


@asynccontextmanager
async def interface_down(stage: Stage) -> AsyncIterator[None]:
    """`ip link set eth0 down` on the first station: sending fails at once."""
    machine = stage.machines[stage.names[0]]
    machine.down()
    yield
    machine.up()


@asynccontextmanager
async def packets_swallowed(stage: Stage) -> AsyncIterator[None]:
    """Something on the way drops all of the first station's packets: it sees a carrier and hears nothing."""
    machine = stage.machines[stage.names[0]]
    machine.deafen()
    yield
    machine.undeafen()


# ---- the station ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def station_killed(stage: Stage) -> AsyncIterator[None]:
    """SIGKILL of the first station; over when it is started again, as systemd would."""
    station = stage.stations[stage.names[0]]
    station.kill()
    yield
    await asyncio.sleep(RESTARTED_AFTER_S)
    station.start()


@asynccontextmanager
async def hangups(stage: Stage) -> AsyncIterator[None]:
    """A burst of SIGHUPs to the first station."""
    for _ in range(STORM):
        stage.stations[stage.names[0]].signal(signal.SIGHUP)
    yield


@asynccontextmanager
async def file_half_written(stage: Stage) -> AsyncIterator[None]:
    """alto.yaml of the first station ends in the middle of a key for a while, then it is replaced by the whole one."""
    name = stage.names[0]
    path = stage.stations[name].config_path
    path.write_text(path.read_text().partition("dio:")[0])  # cut elsewhere it could be a valid file, with other values
    yield
    stage.stations[name].write_config(stage.settings(name))
