"""Every alert rule fires for what it is there for, says what and the cure, and is silent while all is well.

Prometheus' own `promtool test rules` judges; here are the stories: a healthy station, and what differs from it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

RULES: Final = Path(__file__).with_name("alerts.yml")
MINUTES: Final = 3000  # more than two days: the longest that a rule waits
LABELS: Final = {"instance": "kitchen.local:9477", "job": "alto", "room": "home", "station": "kitchen"}
WHO: Final = "kitchen (home)"


def always(value: float) -> str:
    return f"{value:g}x{MINUTES}"


def growing(a_minute: float) -> str:
    return f"0+{a_minute:g}x{MINUTES}"


def from_minute(minute: int, before: float, after: float) -> str:
    return f"{before:g}x{minute} {after:g}x{MINUTES - minute}"


HEALTHY: Final[Mapping[str, str]] = {
    "up": always(1),
    'alto_build_info{version="0.1.0"}': always(1),
    'alto_state_info{reason="in_room"}': always(1),
    'alto_state{state="online"}': always(1),
    'alto_state{state="degraded"}': always(0),
    'alto_state{state="blocked"}': always(0),
    'alto_leg_state{leg="input",state="ok"}': always(1),
    'alto_leg_state{leg="input",state="missing"}': always(0),
    'alto_leg_state{leg="input",state="off"}': always(0),
    'alto_leg_state{leg="output",state="ok"}': always(1),
    'alto_leg_state{leg="output",state="missing"}': always(0),
    "alto_input_blocks_total": growing(6000),
    "alto_output_blocks_total": growing(6000),
    "alto_input_overruns_total": growing(0),
    "alto_output_underruns_total": growing(1),
    "alto_output_xruns_total": growing(0),
    "alto_input_peak_dbfs": "-60x100 -20x2900",
    "alto_network_frames_sent_total": growing(6000),
    "alto_network_frames_received_total": growing(6000),
    "alto_network_streams": always(1),
    "alto_network_loss_in_ratio": always(0.002),
    "alto_network_loss_out_ratio": always(0.001),
    "alto_network_concealment_ratio": always(0.004),
    "alto_network_rtt_seconds": always(0.02),
    "alto_config_last_reload_successful": always(1),
    "alto_token_expiry_timestamp_seconds": always(1e9),
    "alto_clock_timestamp_seconds": growing(60),
    "alto_process_uptime_seconds": growing(60),
    "alto_watchdog_bit": always(0),
}


@dataclass(frozen=True)
class Story:
    """What differs from the healthy station (None: not there), when it must be known, and what is said then."""

    alert: str
    differs: Mapping[str, str | None]
    minute: int
    summary: str
    severity: str = "critical"
    labels: Mapping[str, str] = field(default_factory=lambda: LABELS)


BLOCKED: Final = {
    'alto_state_info{reason="in_room"}': None,
    'alto_state_info{reason="rejected"}': always(1),
    'alto_state{state="online"}': from_minute(10, 1, 0),
    'alto_state{state="blocked"}': from_minute(10, 0, 1),
}

NO_MICROPHONE: Final = dict.fromkeys(
    ("alto_input_blocks_total", "alto_network_frames_sent_total"), f"0+6000x10 60000x{MINUTES}"
)
"""Neither a block from the device nor a frame to the room: the silence in its place is counted elsewhere."""

STORIES: Final = (
    Story("AltoTargetGone", {"up": from_minute(10, 1, 0)}, 16, f"{WHO} does not answer at kitchen.local:9477"),
    Story("AltoNobodyAsked", {"up": None}, 11, "Prometheus asks no station at all", labels={"job": "alto"}),
    Story(
        "AltoNotOnline",
        {
            'alto_state_info{reason="in_room"}': None,
            'alto_state_info{reason="unreachable"}': always(1),
            'alto_state{state="online"}': from_minute(10, 1, 0),
        },
        16,
        f"{WHO} is not in its room: unreachable",
    ),
    Story(
        "AltoBlocked",
        BLOCKED,
        30,
        f"{WHO} waits for a person: rejected",
        labels={**LABELS, "state": "blocked"},
    ),
    Story(
        "AltoDeviceMissing",
        {
            'alto_leg_state{leg="input",state="ok"}': from_minute(10, 1, 0),
            'alto_leg_state{leg="input",state="missing"}': from_minute(10, 0, 1),
            **NO_MICROPHONE,
        },
        16,
        f"{WHO} has no microphone",
        labels={**LABELS, "leg": "input", "state": "missing"},
    ),
    Story(
        "AltoMicrophoneStandsStill",
        NO_MICROPHONE,
        16,
        f"{WHO}: the microphone is open and gives nothing",
    ),
    Story(
        "AltoSpeakerStandsStill",
        {"alto_output_blocks_total": f"0+6000x10 60000x{MINUTES}"},
        16,
        f"{WHO}: the speaker is open and takes nothing",
    ),
    Story(
        "AltoSendsNothing",
        {"alto_network_frames_sent_total": f"0+6000x10 60000x{MINUTES}"},
        16,
        f"{WHO} is in its room, its microphone works, and it sends no sound",
    ),
    Story(
        "AltoReceivesNothing",
        {"alto_network_frames_received_total": f"0+6000x10 60000x{MINUTES}"},
        16,
        f"{WHO}: others talk, and none of it arrives",
    ),
    Story(
        "AltoMicrophoneHearsNothing",
        {"alto_input_peak_dbfs": always(-96)},
        370,
        f"{WHO}: not a sound from the microphone for six hours",
        "warning",
    ),
    Story(
        "AltoGaps",
        {"alto_output_underruns_total": growing(10)},
        30,
        f"{WHO}: 100 blocks of sound lost in ten minutes",
        "warning",
    ),
    Story(
        "AltoBadLink",
        {"alto_network_loss_out_ratio": from_minute(10, 0, 0.2)},
        30,
        f"{WHO} has a bad link to the server",
        "warning",
    ),
    Story(
        "AltoConfigRejected",
        {"alto_config_last_reload_successful": from_minute(10, 1, 0)},
        12,
        f"{WHO} runs with an earlier alto.yaml: the one that is there has mistakes",
        "warning",
    ),
    Story(
        "AltoTokenEnds",
        {"alto_token_expiry_timestamp_seconds": always(864600)},
        10,
        f"{WHO}: its token ends in 10d 0h 0m 0s",
        "warning",
    ),
    Story("AltoClockWrong", {"alto_clock_timestamp_seconds": always(0)}, 20, f"{WHO}: its clock is not set", "warning"),
    Story(
        "AltoRestarts",
        {"alto_process_uptime_seconds": "0+60x5 0+60x5 0+60x5 0+60x2980"},
        20,
        f"{WHO} started 3 times in an hour",
        "warning",
    ),
    Story("AltoWatchdogBit", {"alto_watchdog_bit": always(1)}, 5, f"{WHO} stood still and was started anew", "warning"),
    Story(
        "AltoVersionMix",
        {'alto_build_info{version="0.2.0",instance="hall.local:9477"}': always(1)},
        2890,
        "2 versions of alto run side by side for two days",
        "info",
        labels={},
    ),
)
QUIET: Final = {
    # what is no fault, however it looks
    "listen-only": {
        'alto_leg_state{leg="input",state="ok"}': always(0),
        'alto_leg_state{leg="input",state="off"}': always(1),
        "alto_input_blocks_total": always(0),
        "alto_network_frames_sent_total": always(0),
        "alto_input_peak_dbfs": always(-120),
    },
    "alone in the room": {"alto_network_streams": always(0), "alto_network_frames_received_total": always(0)},
    "a token that renews itself": {"alto_token_expiry_timestamp_seconds": None},
    "a pulled card for a minute": {
        'alto_leg_state{leg="input",state="ok"}': "1x10 0x1 1x3000",
        'alto_leg_state{leg="input",state="missing"}': "0x10 1x1 0x3000",
    },
    "an update": {"alto_process_uptime_seconds": "0+60x100 0+60x2900"},
}


def rules() -> dict[str, Any]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def series(differs: Mapping[str, str | None]) -> list[dict[str, str]]:
    merged = {**HEALTHY, **differs}
    return [{"series": labelled(name), "values": values} for name, values in merged.items() if values is not None]


def labelled(name: str) -> str:
    """With the labels that targets.json gives each station, unless the series has its own."""
    metric, _, own = name.partition("{")
    more = [f'{key}="{value}"' for key, value in LABELS.items() if f"{key}=" not in own]
    return f"{metric}{{{','.join([one for one in [own.rstrip('}')] if one] + more)}}}"


def firing(minute: int, *alerts: str) -> dict[str, Any]:
    """Exactly these fire then."""
    samples = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(alerts)]
    expression = 'count by (alertname) (ALERTS{alertstate="firing"})'
    return {"expr": expression, "eval_time": f"{minute}m", "exp_samples": samples}


def judged(folder: Path, differs: Mapping[str, str | None], test: Mapping[str, Any]) -> None:
    content = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series(differs), **test}],
    }
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump(content))
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_has_a_story_and_every_story_a_rule() -> None:
    assert sorted(rules()) == sorted(story.alert for story in STORIES)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.alert)
def test_the_rule_fires_says_what_and_the_cure_and_no_other_fires(tmp_path: Path, story: Story) -> None:
    annotations = {"summary": story.summary, "cure": rules()[story.alert]["annotations"]["cure"]}
    alert = {"exp_labels": {**story.labels, "severity": story.severity}, "exp_annotations": annotations}
    test = {
        "alert_rule_test": [{"eval_time": f"{story.minute}m", "alertname": story.alert, "exp_alerts": [alert]}],
        "promql_expr_test": [firing(story.minute, story.alert)],
    }
    judged(tmp_path, story.differs, test)


@pytest.mark.parametrize("what", ["all is well", *QUIET])
def test_no_rule_fires_while_nobody_has_to_do_anything(tmp_path: Path, what: str) -> None:
    minutes = (1, 5, 12, 20, 60, 400, 2000, MINUTES)
    judged(tmp_path, QUIET.get(what, {}), {"promql_expr_test": [firing(minute) for minute in minutes]})
