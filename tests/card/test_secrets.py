"""Secrets in the text of alto.yaml go and come back, and nothing else of it changes."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.card import secrets

SECRET = "hush-hush-0123456789-abcdefghijklmnop"  # noqa: S105 (made up)

FORMS = {
    "plain": f"  api_secret: {SECRET}   # mine\n",
    "single quotes": f"  api_secret: '{SECRET}'\n",
    "double quotes": f'  api_secret: "{SECRET}"\n',
    "block": f"  api_secret: |\n    {SECRET}\n",
    "folded, stripped": f"  api_secret: >-\n    {SECRET}\n",
    "anchored": f"  api_secret: &secret {SECRET}\n  token: *secret\n",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_secret_is_blanked_in_every_form_and_comes_back(form: str) -> None:
    text = f"# Küche\nidentity: kitchen\nlivekit:\n{form}  url: wss://example.org   # there\nroom: home\n"
    blank = secrets.blanked(text)
    assert SECRET not in blank
    assert secrets.TAKEN in blank
    kept = [line for line in text.splitlines() if "livekit" not in line and not line.startswith("  ")]
    assert [line for line in blank.splitlines() if line in kept] == kept
    again = secrets.filled(blank, secrets.known(text))
    assert yaml.safe_load(again) == {
        **yaml.safe_load(text),
        "livekit": {k: str(v).strip() for k, v in yaml.safe_load(text)["livekit"].items()},
    }
    assert secrets.blanked(again) == blank


def test_headers_are_secrets_between_braces_too() -> None:
    text = 'livekit: {token_endpoint_headers: {Authorization: "Bearer a, b", X-Key: "it\'s: #1"}, url: embedded}\n'
    blank = secrets.blanked(text)
    assert "Bearer" not in blank
    assert yaml.safe_load(secrets.filled(blank, secrets.known(text))) == yaml.safe_load(text)


def test_a_new_secret_beside_a_stand_in_is_its_own() -> None:
    known = {("livekit", "api_secret"): "old", ("livekit", "token"): "kept"}
    text = f'livekit:\n  api_secret: new\n  token: "{secrets.TAKEN}"\n'
    assert yaml.safe_load(secrets.filled(text, known))["livekit"] == {"api_secret": "new", "token": "kept"}


def test_a_stand_in_that_nobody_can_fill_is_a_mistake_with_its_line() -> None:
    (problem,) = secrets.orphans(f'livekit:\n  api_secret: "{secrets.TAKEN}"\n', "alto.yaml")
    assert str(problem).startswith("alto.yaml:2:15: livekit.api_secret: found: (taken by alto);")


@pytest.mark.parametrize("text", ["", "a: [", "\t", "? ", "- " * 3000, "[" * 500, "a: &a [*a]", "livekit: 3", "x"])
def test_what_is_no_configuration_has_no_secrets(text: str) -> None:
    assert secrets.spots(text) == []
    assert secrets.blanked(text) == text


WRITABLE = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf", "Cn", "Co", "Zl", "Zp")), min_size=1)


@pytest.mark.slow
@given(WRITABLE.filter(lambda text: text.strip() == text))
@settings(deadline=None)
def test_any_secret_survives_the_way_off_the_card_and_back(secret: str) -> None:
    text = f"livekit:\n  token_endpoint_headers: {{Authorization: {json.dumps(secret, ensure_ascii=False)}}}\n"
    again = secrets.filled(secrets.blanked(text), secrets.known(text))
    assert yaml.safe_load(again) == yaml.safe_load(text)
