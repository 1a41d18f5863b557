"""deploy/dev tells how it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]


def dev(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "deploy/dev", *words], capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("words", [(), ("dance",), ("--dance",)])
def test_an_unknown_word_gets_the_usage_and_64(words: tuple[str, ...]) -> None:
    done = dev(*words)
    assert (done.returncode, done.stdout) == (64, "")
    assert "deploy/dev run" in done.stderr


def test_help_goes_to_standard_output() -> None:
    done = dev("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "deploy/dev test" in done.stdout


@pytest.mark.slow
def test_a_wrong_flag_of_the_demo_is_a_usage_error_too() -> None:
    command = [sys.executable, "-m", "tests.harness.call", "--seconds", "long"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (64, "")
    assert "deploy/dev run: argument --seconds: invalid float value: 'long'" in done.stderr
