"""What the tests of this folder share: writing a file and loading it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from appliance.errors import ConfigError
from appliance.settings.load import Loaded, load

EMBEDDED = "livekit: {url: embedded}\n"
SERVER = "livekit:\n  url: wss://intercom.example.org\n"
NOTHING: Mapping[str, str] = MappingProxyType({})
SECRET = "hush-hush-0123456789-abcdefghijklmnop"  # noqa: S105 (looked for in everything that is printed)


def write(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    """Write alto.yaml as only its owner can read it, so that a secret in it is no news."""
    path = folder / "alto.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def loaded(
    folder: Path, text: str | bytes, *, flags: Mapping[str, object] | None = None, env: Mapping[str, str] = NOTHING
) -> Loaded:
    """The configuration that a file, flags and an environment give."""
    return load(write(folder, text), flags=flags or {}, env=env)


def refusals(
    folder: Path, text: str | bytes, *, flags: Mapping[str, object] | None = None, env: Mapping[str, str] = NOTHING
) -> list[str]:
    """Why it is refused, without the folder's name; empty when it is not."""
    try:
        loaded(folder, text, flags=flags, env=env)
    except ConfigError as error:
        return [str(problem).replace(f"{folder}/", "") for problem in error.problems]
    return []


def warnings(folder: Path, text: str, *, mode: int = 0o600, env: Mapping[str, str] = NOTHING) -> list[str]:
    """What is said about a usable file, without the folder's name."""
    found = load(write(folder, text, mode), env=env)
    return [str(warning).replace(f"{folder}/", "") for warning in found.warnings]
