"""EVENTS.md, made from the tables.

python -m appliance.observe.document > appliance/observe/EVENTS.md
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from appliance.observe.events import ANY, Event, events, metrics

_INTRODUCTION = """\
# Events and figures

Made from `event_table.py` and `metric_table.py` by `python -m appliance.observe.document`; a test keeps it true.

alto writes one JSON object a line on standard output: `timestamp` (ISO 8601, UTC, milliseconds, Z), `level` (debug,
info, warning, error, critical), `event`, then the event's fields. Under systemd a line starts with `<priority>`, which
the journal takes off:

```sh
journalctl -u alto -p warning                                  # only what needs you
journalctl -u alto -o cat | jq 'select(.event == "state.changed")'
journalctl -u alto -o cat | jq 'select(.event == "metrics") | .network.rtt_ms'
```

Every line ends with `station`, the identity of the station that wrote it. Any event may carry `traceback`. Secrets are
masked as `***`; very long values are cut with a mark; a number that does not exist is null. New fields may be added;
those listed here stay.
"""


def render_markdown() -> str:
    """The whole page."""
    return "\n".join([_INTRODUCTION, *_event_section(), *_metric_section()])


def _event_section() -> Iterator[str]:
    yield "## Events\n"
    yield "| event | level | it means | good |\n|---|---|---|---|"
    for event in events().values():
        yield f"| [`{event.name}`](#{_anchor(event)}) | {_levels(event)} | {event.meaning} | {event.good} |"
    yield "\n### Their fields\n"
    for event in events().values():
        yield f'<a id="{_anchor(event)}"></a>**`{event.name}`**: ' + _fields(event)
        yield ""


def _metric_section() -> Iterator[str]:
    yield "## Figures: the event `metrics`\n"
    yield (
        "Counters count from the start of the session, those of `process` from its start. Without a session there are "
        "only\n`network` (state offline) and `process`. `<id>` is the id of a stream. Unknown (yet) is null.\n"
    )
    yield (
        "With `metrics.listen`, Prometheus reads all but those of single voices, in base units:\n"
        "`input.callback_ms_p99` is `alto_input_callback_p99_seconds`, `input.frames` is `alto_input_frames_total`,\n"
        "and a word such as `network.path` is the label of `alto_network_path_info`.\n"
    )
    for section, figures in groupby(metrics().values(), key=lambda metric: metric.section):
        yield f"### `{section}`\n"
        yield "| figure | unit | what it says | good |\n|---|---|---|---|"
        for figure in figures:
            yield f"| `{figure.path}` | {figure.unit} | {figure.meaning} | {figure.good} |"
        yield ""


def _fields(event: Event) -> str:
    if not event.fields:
        return "no fields."
    return "; ".join(_field(name, says) for name, says in event.fields.items()) + "."


def _field(name: str, says: str) -> str:
    if name == ANY:
        return f"and more: {says}"
    return f"`{name.rstrip('?')}`{' (not always)' if name.endswith('?') else ''} {says}"


def _levels(event: Event) -> str:
    return event.level.replace("|", ", ")


def _anchor(event: Event) -> str:
    return event.name.replace(".", "-").replace("_", "-")


if __name__ == "__main__":
    print(render_markdown(), end="")
