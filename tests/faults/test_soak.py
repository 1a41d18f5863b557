"""What a soak concludes: when sound is owed, what growth is allowed, which faults come, what is written down."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from tests.faults import rows
from tests.faults.judge import Judge
from tests.faults.rows import Verdict
from tests.faults.soak import BETWEEN_S, LONG, SHORT, programme
from tests.faults.soak_report import LIFE_S, WARM_UP_S, Reading, Report, Soak, calm_spans, growths
from tests.faults.test_judge import KITCHEN_HZ, PORCH_HZ, WAYS, Recorder


def _soak(*verdicts: Verdict, began_s: float = 1000.0, ended_s: float = 1100.0) -> Soak:
    return Soak(seed=7, began_s=began_s, ended_s=ended_s, complete=True, verdicts=list(verdicts))


def _life(rss_mb_per_h: float, *, joins: int = 0, seconds: float = 7200.0, pid: int = 1) -> list[Reading]:
    at_s = np.arange(0.0, seconds, 10.0)
    return [
        Reading(float(s), "porch", pid, 90.0 + rss_mb_per_h * s / 3600.0, 30, 25, int(joins * s / seconds))
        for s in at_s
    ]


def test_sound_is_owed_outside_of_faults_and_the_time_to_return_from_them() -> None:
    overlapping = (
        Verdict("a", 1010.0, 1020.0, excused_until_s=1023.0),
        Verdict("b", 1022.0, 1025.0, excused_until_s=1028.0),
        Verdict("one that may not be heard", 1050.0, 1055.0, excused_until_s=1050.0),
    )
    assert calm_spans(_soak(*overlapping)) == [(1000.0, 1010.0), (1028.0, 1100.0)]


@pytest.mark.slow  # draws
def test_the_report_counts_missing_sound_only_where_it_is_owed(tmp_path: Path) -> None:
    recorder = Recorder()
    judge = Judge(recorder, WAYS, now=lambda: recorder.now_s)
    voices = ((PORCH_HZ, KITCHEN_HZ, 2.0), (None, None, 3.0), (PORCH_HZ, None, 1.0), (None, KITCHEN_HZ, 0.2))
    for kitchen, porch, seconds in (*voices, (PORCH_HZ, KITCHEN_HZ, 0.8)):
        recorder.hear(kitchen, porch, seconds)
    judge.look()
    soak = _soak(Verdict("cable", 1002.0, 1004.0, excused_until_s=1005.0), ended_s=1007.0)
    report = Report(soak, judge)
    stuttering, broken = report.shares[WAYS[1]], report.shares[WAYS[0]]
    assert (stuttering.without_outages, stuttering.strictly) == pytest.approx((1.0, 0.95), abs=0.02)
    assert (broken.without_outages, broken.strictly) == pytest.approx((0.75, 0.75), abs=0.02)
    assert [problem.split(":")[0] for problem in report.problems] == ["kitchen at porch"]
    text, data, picture = report.write(tmp_path, "soak")
    assert "NOT GOOD: kitchen at porch" in text.read_text()
    assert json.loads(data.read_text())["faults"][0]["at_s"] == 2.0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_growth_is_judged_beyond_what_each_join_leaks_in_the_sdk() -> None:
    (steady,) = growths(_life(0.5))
    assert list(steady.problems()) == []
    (leaking,) = growths(_life(10.0))
    assert "grew by 10.0 MB/h" in next(leaking.problems())
    (joining,) = growths(_life(10.0, joins=40))
    assert list(joining.problems()) == []


def test_a_life_too_short_for_a_line_is_not_judged() -> None:
    assert growths(_life(100.0, seconds=WARM_UP_S + LIFE_S - 30.0)) == []
    assert len(growths(_life(0.0, pid=1) + _life(0.0, pid=2))) == 2


def test_each_seed_is_a_programme_of_its_own_that_leaves_no_row_out() -> None:
    first = list(itertools.islice(programme(1, 3600.0), 45))
    assert first == list(itertools.islice(programme(1, 3600.0), 45))
    assert first != list(itertools.islice(programme(2, 3600.0), 45))
    assert all(BETWEEN_S[0] <= pause_s <= BETWEEN_S[1] for pause_s, _ in first)
    assert {row for _, row in first if row in SHORT} == set(SHORT)
    assert {row for _, row in first if row in LONG} <= {rows.KILLED_300, rows.PULLED_180}
    assert not any(row in LONG for _, row in itertools.islice(programme(1, 300.0), 45))
