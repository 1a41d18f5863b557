"""The configuration that worked last, for a start with a file that does not."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from appliance.settings.kept import FILE, LastGood
from appliance.settings.sources import Sources
from tests.settings.loading import EMBEDDED, SECRET, SERVER, write

KEYED = f"{SERVER}  api_key: key\n  api_secret: {SECRET}\n"


@pytest.fixture
def last_good(tmp_path: Path) -> LastGood:
    return LastGood(tmp_path / "state")


def keep(last_good: LastGood, sources: Sources) -> bool:
    loaded = sources.load()
    return last_good.keep(loaded.path, loaded.data)


def test_what_worked_is_kept_to_the_byte_for_its_owner_only(tmp_path: Path, last_good: LastGood) -> None:
    path = write(tmp_path, "\ufeff# grüße\r\n" + KEYED)
    assert keep(last_good, Sources({}, path))
    kept = last_good.find()
    assert kept is not None
    assert (kept.path, kept.data) == (path, path.read_bytes())
    assert stat.S_IMODE(last_good.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(last_good.file.parent.stat().st_mode) == 0o700
    assert SECRET not in repr(kept)


def test_what_did_not_change_is_not_written_again(tmp_path: Path, last_good: LastGood) -> None:
    """An SD card wears."""
    sources = Sources({}, write(tmp_path, EMBEDDED))
    assert keep(last_good, sources)
    before = last_good.file.stat()
    assert not keep(last_good, sources)
    assert last_good.file.stat() == before
    write(tmp_path, EMBEDDED + "room: cellar\n")
    assert keep(last_good, sources)


@pytest.mark.parametrize("found", ["", "livekit:\n  ur", "rom: home\n", "\0\0\0\0", None])
def test_a_file_that_cannot_be_used_is_replaced_by_what_worked(
    tmp_path: Path, last_good: LastGood, found: str | None
) -> None:
    path = write(tmp_path, EMBEDDED + "room: cellar\n")
    sources = Sources({}, path, flags={"identity": "porch"})
    keep(last_good, sources)
    path.unlink() if found is None else write(tmp_path, found)
    kept = last_good.find()
    assert kept is not None
    loaded = sources.load_kept(kept)
    assert loaded is not None
    assert (loaded.settings.room, loaded.settings.identity) == ("cellar", "porch")
    assert loaded.kept_at == kept.at
    assert loaded.path == path


def test_paths_in_it_stay_relative_to_the_file_that_it_was(tmp_path: Path, last_good: LastGood) -> None:
    sources = Sources({}, write(tmp_path, SERVER + "  token_file: alto.token\n"))
    keep(last_good, sources)
    (tmp_path / "alto.yaml").unlink()
    kept = last_good.find()
    assert kept is not None
    loaded = sources.load_kept(kept)
    assert loaded is not None
    assert loaded.settings.livekit.token_file == tmp_path / "alto.token"


def test_another_stations_file_is_not_replaced_by_it(tmp_path: Path, last_good: LastGood) -> None:
    keep(last_good, Sources({}, write(tmp_path, EMBEDDED)))
    kept = last_good.find()
    assert kept is not None
    assert Sources({}, tmp_path / "porch.yaml").load_kept(kept) is None
    assert Sources({"ALTO_CONFIG": str(tmp_path / "porch.yaml")}).load_kept(kept) is None


def test_without_any_file_the_one_that_was_kept_is_meant(
    tmp_path: Path, last_good: LastGood, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.settings.load.SEARCHED", (tmp_path / "alto.yaml",))
    keep(last_good, Sources({}, write(tmp_path, EMBEDDED)))
    (tmp_path / "alto.yaml").unlink()
    kept = last_good.find()
    assert kept is not None
    assert Sources({}).load_kept(kept) is not None


def test_flags_that_are_wrong_stay_wrong(tmp_path: Path, last_good: LastGood) -> None:
    path = write(tmp_path, EMBEDDED)
    keep(last_good, Sources({}, path))
    kept = last_good.find()
    assert kept is not None
    assert Sources({}, path, flags={"audio.block_ms": "-1"}).load_kept(kept) is None


def test_what_a_power_cut_made_of_it_is_no_configuration(tmp_path: Path, last_good: LastGood) -> None:
    assert last_good.find() is None
    keep(last_good, Sources({}, write(tmp_path, KEYED)))
    whole = last_good.file.read_bytes()
    for length in range(0, len(whole), 7):
        last_good.file.write_bytes(whole[:length])
        assert last_good.find() is None, whole[:length]
    for damaged in (b"\0" * len(whole), whole.replace(b"key: key", b"key: kez"), b"[]\n", b'{"file": 3}\n', b"{}\n"):
        last_good.file.write_bytes(damaged)
        assert last_good.find() is None, damaged
    last_good.file.write_bytes(whole)
    assert last_good.find() is not None


def test_what_an_interrupted_write_left_is_in_nobodys_way(tmp_path: Path, last_good: LastGood) -> None:
    last_good.file.parent.mkdir()
    last_good.file.with_name(f"{FILE}.new").write_text("half of a fi")
    assert keep(last_good, Sources({}, write(tmp_path, EMBEDDED)))
    assert [entry.name for entry in last_good.file.parent.iterdir()] == [FILE]


def test_a_link_planted_in_the_way_is_not_followed(tmp_path: Path, last_good: LastGood) -> None:
    last_good.file.parent.mkdir()
    os.symlink(tmp_path / "elsewhere", last_good.file.with_name(f"{FILE}.new"))
    sources = Sources({}, write(tmp_path, EMBEDDED))
    with pytest.raises(OSError, match="symbolic links"):
        keep(last_good, sources)
    assert not (tmp_path / "elsewhere").exists()
    assert keep(last_good, sources), "the link is out of the way now"
