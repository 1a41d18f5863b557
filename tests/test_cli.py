"""The commands' output and exit codes, in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.cli import main

ROOT = Path(__file__).resolve().parent.parent
GOOD = "identity: kitchen\nlivekit: {url: embedded}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "alto.yaml"
    path.touch(mode=0o600)
    path.write_text(GOOD)
    return path


def test_a_valid_file_is_said_to_be_valid(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: valid\n"


def test_every_error_of_a_file_is_printed_and_the_code_is_78(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(GOOD + "audio: {inpt: {}}\nroom: 3.5\nlog: {level: lod}\n")
    assert main(["check", str(file)]) == 78
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1] for line in lines if ": " in line] == sorted(line.split(":")[1] for line in lines)
    assert any("inpt" in line and "input" in line for line in lines)
    assert any("log.level" in line for line in lines)


def test_programs_get_the_same_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["valid"] is True
    file.write_text(GOOD + "rom: home\n")
    assert main(["check", "--json", str(file)]) == 78
    answer = json.loads(capsys.readouterr().out)
    assert answer["valid"] is False
    assert answer["problems"][0]["line"] == 3
    assert "room" in answer["problems"][0]["fix"]


def test_show_tells_where_a_value_comes_from(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "-c", str(file), "--room-name", "demo", "--set", "audio.block_ms=20"]) == 0
    out = capsys.readouterr().out
    assert "room: demo" in out
    assert "--room-name" in out
    assert "block_ms: 20" in out
    assert main(["show", "--json", "-c", str(file)]) == 0
    json.loads(capsys.readouterr().out)


def test_the_schema_and_the_reference_are_the_files_in_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == (ROOT / "config/alto.schema.json").read_text()
    assert main(["schema", "--reference"]) == 0
    assert capsys.readouterr().out == (ROOT / "config/alto.reference.yaml").read_text()


def test_asking_a_station_that_does_not_run_says_so_and_ends_with_69(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "-c", str(file), "--socket", str(tmp_path / "none.sock")]) == 69
    assert "no station runs" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["fly"], ["run", "--colour"], ["record"]])
def test_wrong_usage_ends_with_64(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 64
    assert "alto" in capsys.readouterr().err


def test_help_offers_no_flag_for_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """Process arguments are for everybody to read."""
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    words = capsys.readouterr().out.split()
    assert not {"--token", "--api-secret", "--api-key"} & set(words)


def test_a_reader_that_leaves_early_is_no_error(file: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "appliance", "show", "-c", str(file)]
    try:
        done = subprocess.run(
            words, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=30, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
