"""No benchmark without a test."""

from pathlib import Path

from mini_study import ROOT


def test_every_benchmark_runs_in_a_test():
    programs = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text()}
    tested = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert programs and programs <= tested
