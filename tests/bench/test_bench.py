"""The bench runs and reports. How fast anything was is no matter of a test."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.operations import OPERATIONS

PROJECT = Path(__file__).parents[2]


def bench(*arguments: str) -> str:
    """What a run prints."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=PROJECT,
        env={**os.environ, "KEYISO_HOME": "/nonexistent: the bench has a home of its own"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
    ).stdout


def test_every_operation_is_measured_in_every_round() -> None:
    report = json.loads(bench("--seconds=0.01", "--rounds=2", "--clients", "1", "2", "--json"))

    rows = {(row["operation"], row["clients"]): row for row in report["rows"]}
    armed = not report["isolation"]["missing"]
    names = {name for name in OPERATIONS if armed or "vbs" not in name}
    assert set(rows) == {(name, clients) for name in names for clients in (1, 2)}
    for row in rows.values():
        assert len(row["rounds"]) == 2
        for figure in row["rounds"]:
            assert all(value > 0 for value in figure.values()), row
    baselines = {one.baseline for one in OPERATIONS.values()} - {""}
    assert set(report["baselines_at_the_end"]) == baselines
    assert {one["service"] for one in report["idle"]} >= {"keyiso", "software-0", "supervisor"}
    assert all(row["ratio"] for (name, _), row in rows.items() if OPERATIONS[name].baseline)


def test_the_report_for_people_says_what_it_comes_to() -> None:
    text = bench("--seconds=0.01", "--rounds=1", "--clients", "1")

    for name in OPERATIONS:
        assert f"\n{name} " in text
    assert "what it comes to" in text
    assert "of in process on all processors" in text


def test_an_argument_that_there_is_not_is_refused() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        bench("--slow")
