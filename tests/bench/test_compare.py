"""A run is compared with what was kept of another."""

from __future__ import annotations

from pathlib import Path

from tests.bench.clients import ALTO, PEER
from tests.bench.compare import changes, load, save
from tests.bench.report import Report
from tests.bench.trial import Cell, Trial


def trial(client: str, delay_ms: float, *, others: int = 0, broken: float = 0.0, cpu: float = 12.0) -> Trial:
    figures = {"delay_p50_ms": delay_ms, "cpu_percent": cpu, "harness_broken": broken, "level_dbfs": -18.0}
    figures |= {"gaps_per_min": 0.0, "jumps_per_min": 0.0}
    return Trial(Cell(client, others), 30.0, 0.5, figures, {})


def test_what_was_kept_tells_a_change_for_the_worse_from_noise(tmp_path: Path) -> None:
    kept = tmp_path / "baseline.json"
    save(kept, Report([trial(ALTO, ms) for ms in (90, 91, 89)]).cells)
    same = dict(changes(load(kept), Report([trial(ALTO, ms) for ms in (91, 90, 90)]).cells))
    assert not any(same.values())
    later = dict(changes(load(kept), Report([trial(ALTO, ms) for ms in (99, 98, 100)]).cells))
    assert [line.split()[0] for line, worse in later.items() if worse] == ["higher"]


def test_a_trial_whose_own_sound_broke_counts_for_nothing() -> None:
    report = Report([trial(ALTO, 90), trial(ALTO, 500, broken=1.0)])
    assert report.median(Cell(ALTO, 0), "delay_p50_ms") == 90
    assert "is not counted" in "\n".join(report.table())


def test_bars_are_told_with_what_was_measured_and_against_the_peer() -> None:
    report = Report([trial(ALTO, 90), trial(PEER, 500, cpu=18.0), trial(ALTO, 91, others=3, cpu=13.5)])
    bars = {what: (round(value, 2), holds) for what, value, _, holds in report.bars()}
    assert bars["alto, alone: delay_p50_ms"] == (90.0, True)
    assert bars["alto, 3 talking: delay_p50_ms"] == (91.0, False)
    assert bars["alto, alone: delay_p50_ms of mediadevices's"] == (0.18, True)
    assert bars["alto, alone: cpu_percent of mediadevices's"] == (0.67, True)
    assert bars["CPU points for each further participant, talking"] == (0.5, True)


def test_a_report_becomes_a_table_a_file_and_a_picture(tmp_path: Path) -> None:
    report = Report([trial(ALTO, 90), trial(PEER, 500)])
    text, data, picture = report.write(tmp_path, "bench")
    assert "alto, alone" in text.read_text()
    assert '"medians"' in data.read_text()
    assert picture.read_bytes().startswith(b"\x89PNG")
