"""The second client hears, says and leaves as it is told."""

from __future__ import annotations

import pytest

from tests.harness.peer import PeerFailed, SdkPeer
from tests.harness.server import LiveKitServer
from tests.harness.signals import SILENCE_DBFS

pytestmark = [pytest.mark.server, pytest.mark.slow]


def test_three_clients_hear_the_others_at_their_level_and_never_themselves(livekit_server: LiveKitServer) -> None:
    room = "peers"
    with (
        SdkPeer(livekit_server, "ann", room) as ann,
        SdkPeer(livekit_server, "ben", room) as ben,
        SdkPeer(livekit_server, "cy", room) as cy,
    ):
        ann.say(433)
        ben.say(1033, -20)
        cy.wait_hears("ben", 1033, 5.0)
        assert cy.wait_hears("ann", 433, 5.0) == pytest.approx(-12, abs=0.5)
        heard = cy.levels((433, 1033), 0.5)
        assert heard["ben"][1033] == pytest.approx(-20, abs=0.5)
        assert heard["ben"][433] < -80
        assert set(ann.levels()) == {"ben"}
        assert cy.participants() == {"ann", "ben"}


def test_a_stalled_client_falls_silent_but_stays(livekit_server: LiveKitServer) -> None:
    with SdkPeer(livekit_server, "dan", "stall") as dan, SdkPeer(livekit_server, "eve", "stall") as eve:
        dan.say(433)
        eve.wait_hears("dan", 433, 5.0)
        dan.stall()
        eve.levels(seconds=0.5)
        assert eve.levels((433,), 0.3)["dan"][433] == SILENCE_DBFS
        assert eve.participants() == {"dan"}
        dan.say(1033)
        eve.wait_hears("dan", 1033, 5.0)


def test_a_client_that_cannot_do_as_told_says_why(livekit_server: LiveKitServer) -> None:
    with SdkPeer(livekit_server, "fay", "words") as fay, pytest.raises(PeerFailed, match="_do_dance"):
        fay._ask(do="dance")


def test_a_client_without_a_right_to_join_fails_at_once(livekit_server: LiveKitServer) -> None:
    with LiveKitServer() as another:  # whose key this one does not know
        stranger = SdkPeer(another, "gus")
    stranger._url = livekit_server.url  # type: ignore[misc]
    with pytest.raises(PeerFailed, match="401"):
        stranger.start()
