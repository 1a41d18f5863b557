"""What the package is made of, without building it: the right wheels and files, scripts that any shell can read."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = ROOT / "deploy"


def loaded(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


build: Final = loaded("alto_build", DEPLOY / "package/build.py")
seeds: Final = loaded("alto_seeds", DEPLOY / "cloud-init/make.py")


@pytest.mark.parametrize("python", build.PYTHONS)
@pytest.mark.parametrize("architecture", build.MACHINES)
def test_every_package_that_alto_needs_is_taken_once_and_no_developers_tool(architecture: str, python: str) -> None:
    lines = build.requirements(build.Target(architecture), python).splitlines()
    names = [canonicalize_name(line.split("==")[0]) for line in lines]
    assert len(names) == len(set(names))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}
    assert wanted <= set(names)
    tools = {canonicalize_name(Requirement(text).name) for text in project["optional-dependencies"]["dev"]}
    assert not tools & set(names)
    assert all("--hash=sha256:" in line and ";" not in line for line in lines)


def test_each_python_gets_the_release_that_is_locked_for_it() -> None:
    numpy = {
        python: next(line for line in build.requirements(build.Target("arm64"), python).splitlines() if "numpy" in line)
        for python in build.PYTHONS
    }
    assert len({line.split()[0] for line in numpy.values()}) == len(build.PYTHONS), numpy


def test_every_file_that_is_shipped_is_there() -> None:
    missing = [source for source in build.FILES if not (ROOT / source).is_file()]
    assert not missing


@pytest.mark.parametrize(
    "script", ["postinst", "prerm", "postrm", "alto", "alto-card", "alto-release", "../install.sh"]
)
def test_scripts_are_written_for_a_plain_shell(script: str) -> None:
    path = DEPLOY / "package" / script
    assert path.read_text().startswith("#!/bin/sh\n")
    done = subprocess.run(["dash", "-n", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_units_that_are_enabled_are_those_that_can_be() -> None:
    can_be = {path.name for path in (DEPLOY / "systemd").iterdir() if "[Install]" in path.read_text()}
    for script, variable in (("postinst", "ENABLED"), ("postrm", "UNITS")):
        text = (DEPLOY / "package" / script).read_text()
        line = next(line for line in text.splitlines() if line.startswith(f'{variable}="'))
        assert set(line.split('"')[1].split()) == can_be, script


def test_the_seeds_for_a_first_boot_are_made_from_the_template_and_say_the_same() -> None:
    user_data, preseed = (
        (DEPLOY / "cloud-init/user-data").read_text(),
        (DEPLOY / "cloud-init/rpi-preseed.toml").read_text(),
    )
    again = "make them anew: python deploy/cloud-init/make.py"
    assert (user_data, preseed) == (seeds.user_data(), seeds.preseed()), again
    assert user_data.startswith("#cloud-config\n")
    told = yaml.safe_load(user_data)["runcmd"]
    assert told == tomllib.loads(preseed)["runcmd"]["early"] == seeds.commands()


def test_the_installer_tells_how_it_is_used_and_what_it_lacks(tmp_path: Path) -> None:
    script = tmp_path / "install.sh"
    script.write_bytes((DEPLOY / "install.sh").read_bytes())
    helped = subprocess.run(["sh", script, "--help"], capture_output=True, text=True, check=False)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "--uninstall" in helped.stdout
    wrong = subprocess.run(["sh", script, "--dance"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 64
    absent = subprocess.run(["sh", script, "nowhere.deb"], capture_output=True, text=True, check=False)
    assert absent.returncode in (66, 77), "no such file, or not root"
