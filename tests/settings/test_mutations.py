"""Whatever a file holds: a usable configuration, or problems that say where and what to do. Never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import ConfigError
from appliance.settings.load import Loaded, load
from appliance.settings.problems import Problem
from tests.settings.mutations import SURPRISES, VALID, mutate

SEEDS = 5000
LONGEST_MESSAGE = 1200  # a screenful; a longer one quotes what it should not


def outcome(path: Path, data: bytes) -> Loaded | tuple[Problem, ...]:
    """What loading gives; any exception but ConfigError fails the test that asked."""
    path.write_bytes(data)
    try:
        return load(path, env={})
    except ConfigError as error:
        problems = tuple(problem for problem in error.problems if isinstance(problem, Problem))
        assert problems, "refused without a reason"
        return problems


def check(found: Loaded | tuple[Problem, ...]) -> bool:
    """Hold every problem and warning to what a reader needs. True when the file was usable."""
    for problem in found.warnings if isinstance(found, Loaded) else found:
        assert problem.line >= 1, problem
        assert problem.column >= 1, problem
        assert problem.fix, problem
        assert problem.found, problem
        assert str(problem).isprintable(), "one line, and nothing that moves a terminal's cursor"
        assert len(str(problem)) < LONGEST_MESSAGE, problem
    return isinstance(found, Loaded)


@pytest.mark.slow
def test_5000_damaged_files_give_a_configuration_or_a_place_and_a_fix(tmp_path: Path) -> None:
    path = tmp_path / "alto.yaml"
    usable = sum(check(outcome(path, mutate(seed))) for seed in range(SEEDS))
    assert SEEDS // 20 < usable < SEEDS // 2, "the damage is neither always fatal nor mostly harmless"


def test_a_seed_gives_the_same_bytes_every_time() -> None:
    assert [mutate(seed) for seed in range(50)] == [mutate(seed) for seed in range(50)]


@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_give_a_configuration_or_a_place_and_a_fix(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    check(outcome(tmp_path_factory.getbasetemp() / "bytes.yaml", data))


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet="abc:-#&*!|>'\"%@`{}[],?~\\ \t\n0.e", max_size=80))
def test_arbitrary_yaml_signs_give_a_configuration_or_a_place_and_a_fix(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    check(outcome(tmp_path_factory.getbasetemp() / "signs.yaml", text.encode()))


@settings(max_examples=150, deadline=None)
@given(
    base=st.sampled_from(VALID),
    at=st.integers(0, 5000),
    length=st.integers(0, 20),
    put=st.one_of(st.binary(max_size=20), st.sampled_from(SURPRISES).map(lambda s: s.encode("utf-8", "surrogatepass"))),
)
def test_a_valid_file_with_any_piece_replaced_gives_a_configuration_or_a_place_and_a_fix(
    tmp_path_factory: pytest.TempPathFactory, base: bytes, at: int, length: int, put: bytes
) -> None:
    at %= len(base)
    check(outcome(tmp_path_factory.getbasetemp() / "piece.yaml", base[:at] + put + base[at + length :]))


@settings(max_examples=100, deadline=None)
@given(
    name=st.text(min_size=1, max_size=40).filter(lambda s: s.isprintable() and s.strip()),
    volume=st.floats(0, 4),
)
def test_any_printable_name_and_any_volume_in_range_come_through_as_written(
    tmp_path_factory: pytest.TempPathFactory, name: str, volume: float
) -> None:
    quoted = "'" + name.replace("'", "''") + "'"
    text = f"identity: {quoted}\nlivekit: {{url: embedded}}\naudio: {{volumes: {{{quoted}: {volume!r}}}}}\n"
    found = outcome(tmp_path_factory.getbasetemp() / "name.yaml", text.encode())
    assert isinstance(found, Loaded), found
    assert found.settings.identity == name
    assert found.settings.audio.volumes == {name: volume}
