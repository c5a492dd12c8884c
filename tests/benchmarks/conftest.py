"""Benchmarks as their users run them, but small."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from mini_study import MINI, ROOT


@dataclass(frozen=True)
class Outcome:
    """Attributes:
    record: what `--output` wrote.
    printed: on standard output.
    """

    record: dict
    printed: str


@pytest.fixture
def run_benchmark(tmp_path) -> Callable[..., Outcome]:
    def run(name: str, *arguments: str | Path) -> Outcome:
        output = tmp_path / "record.json"
        command = [sys.executable, ROOT / "benchmarks" / f"{name}.py", *arguments, "--output", output]
        process = subprocess.run(
            list(map(str, command)),
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return Outcome(json.loads(output.read_text()), process.stdout)

    return run


@pytest.fixture
def run_on_study(run_benchmark, finished, tmp_path) -> Callable[..., Outcome]:
    """The same on the finished miniature study; `changes` is YAML that overrides keys of its configuration."""

    def run(name: str, *arguments: str, changes: str = "{}") -> Outcome:
        changed = tmp_path / "changed.yaml"
        changed.write_text(changes)
        config = ("--config", finished.repository / "config.yaml", finished.repository / MINI, changed)
        return run_benchmark(name, *arguments, *config, "--results", finished.path("results"))

    return run
