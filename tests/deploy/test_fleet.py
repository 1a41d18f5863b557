"""`deploy/fleet/make`: three hundred cards from one template and one table, and every mistake with its place."""

from __future__ import annotations

import csv
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from livekit import api

from appliance.cli import main as alto
from appliance.network.claims import claims_of
from tests.deploy.fleet import FLEET, SECRET, TEMPLATE, Fleet

MANY = 300


def settings(fleet: Fleet, station: str) -> dict[str, object]:
    content: dict[str, object] = yaml.safe_load((fleet.out / station / "alto.yaml").read_text())
    return content


def token(fleet: Fleet, station: str) -> str:
    livekit = settings(fleet, station)["livekit"]
    assert isinstance(livekit, dict)
    return str(livekit["token"])


def secrets(fleet: Fleet) -> Iterator[str]:
    yield from (token(fleet, path.name) for path in fleet.out.iterdir() if path.is_dir())


@pytest.mark.slow
def test_three_hundred_cards_pass_alto_check_and_share_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "".join(f"station-{n},Door {n},room-{n % 7},{n % 5 / 2}\n" for n in range(MANY))
    fleet = Fleet(tmp_path, table="identity,name,room,audio.output.volume\n" + lines)
    started = time.monotonic()
    done = subprocess.run([FLEET / "make", *fleet.words()], capture_output=True, text=True, check=True)
    took_s = time.monotonic() - started
    files = sorted(fleet.out.glob("*/alto.yaml"))
    assert len(files) == MANY
    assert [alto(["check", str(path)]) for path in files] == [0] * MANY
    checked = capsys.readouterr()
    assert checked.err == ""  # not even a warning
    assert checked.out.count(": valid") == MANY
    assert len(set(secrets(fleet))) == MANY
    assert not any(SECRET in content.decode() for content in fleet.contents().values())
    assert done.stdout.startswith(f"{MANY} stations")
    assert SECRET not in done.stdout + done.stderr
    print(f"{MANY} cards made in {took_s:.1f} s")


def test_a_card_has_the_template_the_line_and_a_token_for_its_room_only(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.made("--days", "100")
    kitchen, hall = settings(fleet, "kitchen"), settings(fleet, "hall")
    assert (kitchen["name"], kitchen["room"], kitchen["audio"]) == ("Kitchen", "home", {"output": {"volume": 0.5}})
    assert (hall["name"], hall["room"], hall["audio"]) == ("Hall, first floor", "upstairs", {"output": {"volume": 0.8}})
    claims = api.TokenVerifier("APIkey", SECRET).verify(token(fleet, "hall"))
    assert claims.identity == "hall"
    assert claims.video is not None
    assert (claims.video.room, claims.video.room_join, claims.video.room_admin) == ("upstairs", True, None)
    life_s = claims_of(token(fleet, "hall"))["exp"] - time.time()
    assert life_s == pytest.approx(100 * 86400, abs=120)


def test_only_the_owner_can_read_what_was_made(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.made()
    paths = [fleet.out, *fleet.out.rglob("*")]
    assert {oct(path.stat().st_mode & 0o777) for path in paths if path.is_dir()} == {"0o700"}
    assert {oct(path.stat().st_mode & 0o777) for path in paths if path.is_file()} == {"0o600"}
    fleet.out.chmod(0o755)
    (said,) = fleet.refused()
    assert said.startswith("cards: found: a folder that everybody can look into; allowed: only its owner can")


def test_a_second_run_changes_nothing_and_another_content_is_replaced_only_when_asked(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.made()
    before, times = fleet.contents(), {path: path.stat().st_mtime_ns for path in fleet.out.rglob("*")}
    assert "0 files written" in fleet.made()
    assert (fleet.contents(), {path: path.stat().st_mtime_ns for path in fleet.out.rglob("*")}) == (before, times)
    fleet.template.write_text(TEMPLATE.replace("0.8", "0.9"))
    (said,) = fleet.refused()
    assert "1 with another content than would be written: hall/alto.yaml; --replace" in said
    fleet.made("--replace")
    assert settings(fleet, "hall")["audio"] == {"output": {"volume": 0.9}}
    after = fleet.contents()
    assert after["kitchen/alto.yaml"] == before["kitchen/alto.yaml"]


def test_tokens_are_kept_until_somebody_asks_for_others_or_they_fit_no_more(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.made("--days", "30")
    first = set(secrets(fleet))
    fleet.made("--renew-within", "20")
    assert set(secrets(fleet)) == first
    fleet.made("--renew-within", "40", "--replace")
    second = set(secrets(fleet))
    assert not second & first
    fleet.made("--renew", "--days", "31", "--replace")
    assert not set(secrets(fleet)) & second
    kitchen = token(fleet, "kitchen")
    fleet.table.write_text("identity,room\nkitchen,cellar\nhall,upstairs\n")
    fleet.made("--replace")
    assert claims_of(token(fleet, "kitchen"))["video"]["room"] == "cellar"
    assert token(fleet, "kitchen") != kitchen


def test_the_manifest_says_whose_token_ends_when_and_no_secret(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    said = fleet.made()
    rows = list(csv.DictReader((fleet.out / "manifest.csv").read_text().splitlines()))
    assert [(row["identity"], row["name"], row["room"]) for row in rows] == [
        ("kitchen", "Kitchen", "home"),
        ("hall", "Hall, first floor", "upstairs"),
    ]
    end = time.strftime("%Y-%m-%d", time.gmtime(claims_of(token(fleet, "kitchen"))["exp"]))
    assert rows[0]["token_ends"] == end
    assert f"the first token ends on {end}" in said
    assert not any(secret in (fleet.out / "manifest.csv").read_text() for secret in secrets(fleet))


def test_prometheus_finds_the_stations_that_it_may_ask(tmp_path: Path) -> None:
    table = (
        "identity,host,metrics.listen\nkitchen,kit,0.0.0.0:9477\nhall,,0.0.0.0:9477\nyard,y,10.0.0.7:9000\n"
        "attic,,127.0.0.1:9477\ncellar,,\n"
    )
    fleet = Fleet(tmp_path, table=table)
    fleet.made()
    assert json.loads((fleet.out / "targets.json").read_text()) == [
        {"targets": ["kit.local:9477"], "labels": {"station": "kitchen", "room": "home"}},
        {"targets": ["hall.local:9477"], "labels": {"station": "hall", "room": "home"}},
        {"targets": ["10.0.0.7:9000"], "labels": {"station": "yard", "room": "home"}},
    ]


def test_other_files_of_the_card_are_filled_in(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, table="identity,host,psk\nkitchen,kit,open sesame\nhall,hall,\n")
    (tmp_path / "card/net").mkdir(parents=True)
    (tmp_path / "card/user-data").write_text("hostname: @host@\r\n# @identity@ in @room@, root@example.org\r\n")
    (tmp_path / "card/net/wifi").write_text("psk=@psk@\n")
    (tmp_path / "card/logo").write_bytes(b"\xff\xfe@host@")
    fleet.made("--card", str(tmp_path / "card"))
    assert (fleet.out / "kitchen/user-data").read_bytes() == (
        b"hostname: kit\r\n# kitchen in home, root@example.org\r\n"
    )
    assert (fleet.out / "kitchen/net/wifi").read_text() == "psk=open sesame\n"
    assert (fleet.out / "hall/net/wifi").read_text() == "psk=\n"
    assert (fleet.out / "hall/logo").read_bytes() == b"\xff\xfe@host@"


def test_every_mistake_is_told_in_one_go_with_its_place(tmp_path: Path) -> None:
    table = (
        "# the doors\nidentity;audio.output.volume;room;rom\nkitchen;loud;home;\n;1.0;;\nkitchen;1.0;;\n"
        'hall;"9";;;too many\n'
    )
    fleet = Fleet(tmp_path, template="room: home\nlivekit: {url: nowhere}\nmetricz: {}\n", table=table)
    said = fleet.refused()
    assert [line.split(" ")[0] for line in said] == [
        "alto.yaml:2:16:",
        "alto.yaml:3:1:",
        "stations.csv:2:35:",
        "stations.csv:3:9:",
        "stations.csv:4:1:",
        "stations.csv:5:1:",
        "stations.csv:6:6:",
        "stations.csv:6:12:",
    ]
    text = "\n".join(said)
    assert 'identity: found: "kitchen", as in line 3' in text
    assert 'audio.output.volume: found: "loud"; allowed: a number from 0 to 4' in text
    assert "rom: unknown key" in text
    assert 'did you mean "room"' in text


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "stations.csv:1:1: found: an empty table"),
        ("name\nKitchen\n", "stations.csv:1:1: identity: missing"),
        ("identity,identity\na,b\n", "stations.csv:1:10: identity: given twice"),
        ("identity\nA b\na/b\nA-b\n", '"A-b", whose folder would be that of "A b"'),
        (
            "identity,livekit.token\na,eyJ.x.y\nb,eyJ.x.y\n",
            'livekit.token: found: (hidden), the same as of "a"',
        ),
        ('identity,name\na,"no end\n', "stations.csv:2:3: found: a quote that does not end"),
        ("identity\n\udce9t\u00e9\n", "which is not UTF-8"),
    ],
)
def test_what_a_table_can_have_wrong(tmp_path: Path, table: str, said: str) -> None:
    fleet = Fleet(tmp_path, table="")
    fleet.table.write_bytes(table.encode("utf-8", "surrogateescape"))
    assert said in "\n".join(fleet.refused())


def test_one_key_for_all_cards_is_refused(tmp_path: Path) -> None:
    right = f"  api_key: APIkey\n  api_secret: {SECRET}\n"
    fleet = Fleet(tmp_path, template="livekit:\n  url: wss://intercom.example.org\n" + right)
    (said, *more) = fleet.refused()
    assert said.startswith("alto.yaml:3:12: livekit.api_key: found: a right to join in the template, beside an API key")
    assert len(more) == 1
    fleet.table.write_text("identity,room\nkitchen,home\n,home\n")
    assert [line.split(" ")[0] for line in fleet.refused(keys=False)] == ["stations.csv:1:1:", "stations.csv:3:1:"]
    fleet.table.write_text("identity\nkitchen\nhall\n")
    (said,) = fleet.refused(keys=False)
    assert said.startswith('stations.csv:3:1: livekit.api_secret: found: (hidden), the same as of "kitchen"')


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (f"APIkey: {SECRET}\n", 0o640, "keys:1:1: found: a secret in a file that its group can read"),
        ("APIkey\n", 0o600, "keys:1:1: found: a key without its secret"),
        ("APIkey: short\n", 0o600, "keys:1:1: found: a secret of 5 characters"),
        (f"a: {SECRET}\nb: {SECRET}\n", 0o600, "keys:1:1: found: no API key"),
    ],
)
def test_a_key_that_cannot_be_used_is_told(tmp_path: Path, content: str, mode: int, said: str) -> None:
    fleet = Fleet(tmp_path)
    fleet.keys.write_text(content)
    fleet.keys.chmod(mode)
    (found,) = fleet.refused()
    assert found.startswith(said)


def test_a_station_that_brings_its_own_right_gets_no_token_and_needs_no_key(tmp_path: Path) -> None:
    endpoint = "https://tokens.example.org"
    table = f"identity,livekit.token_endpoint,livekit.token_ttl_s\nkitchen,{endpoint},\nhall,,600\n"
    fleet = Fleet(tmp_path, table=table)
    fleet.made()
    assert settings(fleet, "kitchen")["livekit"] == {"url": "wss://intercom.example.org", "token_endpoint": endpoint}
    assert token(fleet, "hall").startswith("eyJ")
    own = Fleet(tmp_path / "own", table=f"identity,livekit.token_endpoint\nkitchen,{endpoint}\n")
    assert own.make(keys=False).returncode == 0
    embedded = Fleet(tmp_path / "embedded", template="livekit: {url: embedded}\n")
    embedded.made()
    assert settings(embedded, "hall")["livekit"] == {"url": "embedded"}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.out = fleet.keys / "cards"
    done = fleet.make()
    assert done.returncode == 73
    assert "Not a directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_of_the_card_that_asks_for_an_unknown_word_is_told(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    (tmp_path / "card").mkdir()
    (tmp_path / "card/user-data").write_text("#cloud-config\nhostname: @hots@\n")
    (said,) = fleet.refused("--card", str(tmp_path / "card"))
    assert said.startswith("card/user-data:2:11: hots: unknown key")
