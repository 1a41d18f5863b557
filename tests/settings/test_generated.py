"""What is made from the models and shipped: schema, reference, alto.yaml, examples, and what alto show prints."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from appliance.settings import reference, schema
from appliance.settings.keys import Kind, root
from appliance.settings.load import load
from appliance.settings.secrets import MASK, Right
from appliance.settings.show import as_json, render
from tests.settings.loading import EMBEDDED, SECRET, SERVER, loaded, refusals, warnings
from tests.settings.mutations import ROOT

CONFIG = ROOT / "config"
EXAMPLES = sorted((CONFIG / "examples").glob("*.yaml"))


# ---- the reference -----------------------------------------------------------------------------------------------


def test_the_reference_is_the_one_that_the_models_make() -> None:
    assert (CONFIG / "alto.reference.yaml").read_text() == reference.render(), (
        "alto schema --reference > config/alto.reference.yaml"
    )


def test_the_reference_has_every_key_with_its_description() -> None:
    text = reference.render()
    folded = re.sub(r"\n\s*# ", " ", text)
    for key in (*root().sections(), *root().leaves()):
        assert re.search(rf"^\s*#*{key.name}:", text, re.MULTILINE), key.dotted
        assert key.description, key.dotted
        assert key.description in folded, key.dotted


def test_the_reference_is_a_valid_file_as_it_is_and_changes_no_default(tmp_path: Path) -> None:
    as_it_is = loaded(tmp_path, reference.render())
    assert as_it_is.warnings == ()
    assert as_it_is.settings == loaded(tmp_path, EMBEDDED).settings


def test_the_reference_with_every_default_uncommented_is_the_same_configuration(tmp_path: Path) -> None:
    uncommented = re.sub(r"^(\s*)#(\w+:)", r"\1\2", reference.render(), flags=re.MULTILINE)
    found = loaded(tmp_path, uncommented)
    assert found.warnings == ()
    assert found.settings == loaded(tmp_path, EMBEDDED).settings
    assert sum(str(origin) != "default" for origin in found.origins.values()) >= 20


def test_every_example_in_the_reference_is_valid_on_its_own(tmp_path: Path) -> None:
    exclusive = re.compile(r"api_|token|Authorization")
    lines = reference.render().split("\n")
    plain = [re.sub(r"^(\s*)##(\s*\w+:)", r"\1\2", line) for line in lines]
    rest = [new if not exclusive.search(old) else old for old, new in zip(lines, plain, strict=True)]
    assert refusals(tmp_path, "\n".join(rest)) == []
    text = "\n".join(plain).replace("url: embedded", "url: wss://intercom.example.org")
    rights = (
        "api_key:",
        "api_secret:",
        "api_key_file:",
        "api_secret_file:",
        "token:",
        "token_file:",
        "token_endpoint:",
    )
    for chosen in (rights[:2], rights[2:4], rights[4:5], rights[5:6], rights[6:]):
        others = [right for right in rights if right not in chosen]
        kept = [line for line in text.split("\n") if not line.strip().startswith(tuple(others))]
        assert refusals(tmp_path, "\n".join(kept)) == [], chosen


# ---- the schema --------------------------------------------------------------------------------------------------


def test_the_schema_is_the_one_that_the_models_make() -> None:
    assert (CONFIG / "alto.schema.json").read_text() == schema.render(), "alto schema > config/alto.schema.json"
    assert json.loads(schema.render())["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def fits(shape: dict[str, Any], value: object) -> bool:
    """As much of JSON Schema as the schema uses; an unknown keyword fails the test."""
    known = {"type", "enum", "anyOf", "properties", "additionalProperties", "required", "minimum", "maximum"}
    known |= {"minLength", "maxLength", "pattern", "propertyNames", "default", "description", "title"}
    assert set(shape) - known <= {"$schema", "$comment"}, shape
    if "anyOf" in shape:
        return any(fits(one, value) for one in shape["anyOf"])
    if "enum" in shape:
        return value in shape["enum"]
    types = [shape["type"]] if isinstance(shape["type"], str) else shape["type"]
    return any(_is(name, value) for name in types) and _limits(shape, value)


def _is(name: str, value: object) -> bool:
    match name:
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case _:
            types: dict[str, type] = {"object": dict, "string": str, "null": type(None), "boolean": bool}
            return isinstance(value, types[name])


def _limits(shape: dict[str, Any], value: object) -> bool:
    match value:
        case dict():
            extra = shape.get("additionalProperties", True)
            known = shape.get("properties", {})
            inside = all(
                fits(known[name], one) if name in known else extra and fits(extra, one) for name, one in value.items()
            )
            names = "propertyNames" not in shape or all(
                fits({"type": "string"} | shape["propertyNames"], n) for n in value
            )
            return inside and names and set(shape.get("required", [])) <= set(value)
        case str():
            long_enough = shape.get("minLength", 0) <= len(value) <= shape.get("maxLength", 10**9)
            return long_enough and re.search(shape.get("pattern", ""), value) is not None
        case bool() | None:
            return True
        case int() | float():
            return bool(shape.get("minimum", value) <= value <= shape.get("maximum", value))
        case _:
            return True


@pytest.mark.parametrize(
    "text",
    [
        EMBEDDED,
        EMBEDDED + "audio:\nlog:\n",
        EMBEDDED + "audio: {input: {enabled: off, device: null, latency_ms: 20}, volumes: {bob: 1.5}}\n",
        EMBEDDED + "audio: {block_ms: 20, mix: sum, output: {volume: 0}}\n",
        SERVER + "  token_endpoint: https://a.example.org/t\n  token_endpoint_headers: {X: y}\n",
        *((ROOT / "alto.yaml").read_text(), reference.render(), *(path.read_text() for path in EXAMPLES)),
    ],
)
def test_the_schema_accepts_what_the_loader_accepts(tmp_path: Path, text: str) -> None:
    assert refusals(tmp_path, text) == []
    assert fits(schema.schema(), yaml.safe_load(text)), text


@pytest.mark.parametrize(
    "text",
    [
        "room: home\n",
        EMBEDDED + "rooom: home\n",
        EMBEDDED + "audio: {inpt: {}}\n",
        EMBEDDED + "audio: {output: {volume: 9}}\n",
        EMBEDDED + "audio: {volumes: {bob: loud}}\n",
        EMBEDDED + "audio: {volumes: {'': 1}}\n",
        EMBEDDED + "audio: {block_ms: 15}\n",
        EMBEDDED + "log: {level: loud}\n",
        EMBEDDED + "room: '  '\n",
        EMBEDDED + "audio: [input]\n",
        "livekit: {url: intercom.example.org, token_file: /t}\n",
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(tmp_path: Path, text: str) -> None:
    assert refusals(tmp_path, text) != []
    assert not fits(schema.schema(), yaml.safe_load(text)), text


# ---- what is shipped ---------------------------------------------------------------------------------------------


def test_the_shipped_file_needs_nothing_but_this_machine() -> None:
    found = load(ROOT / "alto.yaml", env={})
    assert found.right is Right.EMBEDDED
    assert (found.settings.identity, found.settings.room) == ("kitchen", "home")
    assert found.warnings == ()
    assert found.settings.audio.input.device is None


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_valid_but_for_its_secret_file(path: Path) -> None:
    found = load(path, env={})
    assert all("no such file" in str(warning) for warning in found.warnings)


def test_there_is_an_example_for_each_kind_of_station() -> None:
    assert [path.stem for path in EXAMPLES] == [
        *("i2s-codec-hat", "listen-only", "talk-only", "usb-mic-and-speaker", "usb-speakerphone"),
    ]
    assert load(CONFIG / "examples/listen-only.yaml", env={}).settings.audio.input.enabled is False
    assert load(CONFIG / "examples/talk-only.yaml", env={}).settings.audio.output.enabled is False


@pytest.mark.parametrize("path", [ROOT / "alto.yaml", CONFIG / "alto.reference.yaml", *EXAMPLES], ids=lambda p: p.stem)
def test_an_editor_finds_the_schema_from_every_shipped_file(path: Path) -> None:
    named = re.search(r"yaml-language-server: \$schema=(\S+)", path.read_text())
    assert named is not None
    assert (path.parent / named[1]).resolve() == CONFIG / "alto.schema.json"


# ---- alto show ---------------------------------------------------------------------------------------------------


def test_show_prints_every_key_with_its_origin(tmp_path: Path) -> None:
    text = SERVER + f"  api_key: key\n  api_secret: {SECRET}\naudio: {{volumes: {{bob: 1.5, 'no': 1}}}}\n"
    env = {"LIVEKIT_TOKEN": "eyJ.environment"}
    found = loaded(tmp_path, text, env=env, flags={"room": "demo"})
    lines = [re.sub(r"\s+# ", "  # ", line) for line in render(found).replace(f"{tmp_path}/", "").split("\n")]
    assert lines[:2] == ["# effective configuration of alto.yaml", "# joins by: livekit.token"]
    assert "room: demo  # flag --room" in lines
    assert "  url: wss://intercom.example.org  # alto.yaml:2" in lines
    assert "  token: (hidden)  # environment LIVEKIT_TOKEN" in lines
    assert "  api_key: null  # alto.yaml:3 is not used: alto joins by livekit.token" in lines
    assert "    bob: 1.5  # alto.yaml:5" in lines
    assert '    "no": 1  # alto.yaml:5' in lines
    assert "  block_ms: 10  # default" in lines
    for key in root().leaves():
        assert any(re.match(rf"\s*{key.name}:", line) for line in lines), key.dotted


def test_what_show_prints_is_a_configuration_that_means_the_same(tmp_path: Path) -> None:
    text = EMBEDDED + (
        "identity: 'no'\nname: '12:30'\nroom: \"a: b # c\"\naudio: {volumes: {'012': 0.25, 'ü: #': 4}, mix: sum}\n"
        "status: {socket: '/run/x y.sock'}\nmetrics: {interval_s: 2.5}\n"
    )
    found = loaded(tmp_path, text)
    assert loaded(tmp_path, render(found)).settings == found.settings
    assert warnings(tmp_path, render(found)) == []


def test_show_for_programs_has_values_origins_and_what_is_not_used(tmp_path: Path) -> None:
    text = SERVER + "  token_endpoint: https://a.example.org/t?key=hush\nidentity: no\n"
    shown = json.loads(json.dumps(as_json(loaded(tmp_path, text, env={"LIVEKIT_TOKEN": "eyJ.environment"}))))
    assert shown["right"] == "token"
    assert shown["settings"]["livekit"]["token"] == MASK
    assert shown["settings"]["audio"]["block_ms"] == 10
    assert shown["origins"]["livekit.token"] == "environment LIVEKIT_TOKEN"
    assert shown["unused"] == {"livekit.token_endpoint": f"{tmp_path}/alto.yaml:3"}
    assert [warning["key"] for warning in shown["warnings"]] == ["identity"]
    assert "hush" not in json.dumps(shown)


# ---- light and quick ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_settings_load_without_the_sdk_and_without_numpy() -> None:
    program = (
        "import sys, appliance.settings.load, appliance.settings.show, appliance.settings.changes\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'livekit', 'numpy', 'sounddevice', 'aiohttp'}))"
    )
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_every_key_is_of_a_kind_that_can_be_written_and_has_limits_if_it_counts() -> None:
    for key in root().leaves():
        assert key.allowed, key.dotted
        if key.kind in (Kind.INTEGER, Kind.NUMBER):
            assert key.minimum is not None, key.dotted
            assert key.maximum is not None, key.dotted
