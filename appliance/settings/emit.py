"""A value as alto.yaml would have it: read back, it is the same value for every reader of YAML. Pure."""

from __future__ import annotations

import json
import re
from enum import Enum
from pathlib import Path

from pydantic import SecretStr

from appliance.settings.keys import number
from appliance.settings.scalars import NULLS, other_reading
from appliance.settings.secrets import MASK


def scalar(value: object) -> str:
    """One line of YAML; a secret is masked."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return number(value)
        case SecretStr():
            return text(MASK)
        case Enum():
            return text(str(value.value))
        case Path():
            return text(str(value))
        case _:
            return text(str(value))


def text(value: str) -> str:
    """In quotes where some reader of YAML would take it for something else."""
    safe = re.fullmatch(r"[^\W\d_][\w./:=,@+()-]*( [\w./:=,@+()-]+)*|/[\w./@+-]*|\(hidden\)", value, re.ASCII)
    if safe and not re.search(r":( |$)", value) and value not in NULLS and not other_reading(value):
        return value
    return json.dumps(value, ensure_ascii=False) if value.isprintable() else json.dumps(value)


def plain(value: object) -> object:
    """The value for JSON; a secret is masked."""
    match value:
        case SecretStr():
            return MASK
        case Enum():
            return value.value
        case Path():
            return str(value)
        case dict():
            return {str(name): plain(one) for name, one in value.items()}
        case _:
            return value
