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
from shared_folder import shared_folder


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


@dataclass(frozen=True)
class GpuSession:
    """A finished miniature of `gpu_session.py`, and what it left in its folder."""

    folder: Path

    @property
    def results(self) -> dict:
        return json.loads((self.folder / "session.json").read_text())

    def outcome(self, part: str) -> Outcome:
        (record,) = (result["record"] for result in self.results["parts"] if result["part"] == part)
        return Outcome(record, (self.folder / f"{part}.log").read_text())


@pytest.fixture(scope="session")
def gpu_session_miniature(tmp_path_factory, worker_id) -> GpuSession:
    """Runs once for all test processes: five programs, on which several tests look. Nothing is compiled, which takes
    longer than everything else; test_engine.py compiles a smaller model."""
    pytest.importorskip("transformers", reason="transformers is not installed (extra 'test')")
    with shared_folder("gpu_session", tmp_path_factory, worker_id) as folder:
        if not folder.exists():
            command = [sys.executable, ROOT / "benchmarks" / "gpu_session.py", "--miniature", "--output", folder]
            environment = os.environ | {"TORCHDYNAMO_DISABLE": "1"}
            process = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            (folder / "printed.txt").write_text(process.stdout + process.stderr)
    return GpuSession(folder)


@pytest.fixture
def run_on_study(run_benchmark, finished, tmp_path) -> Callable[..., Outcome]:
    """The same on the finished miniature study; `changes` is YAML that overrides keys of its configuration."""

    def run(name: str, *arguments: str, changes: str = "{}") -> Outcome:
        changed = tmp_path / "changed.yaml"
        changed.write_text(changes)
        config = ("--config", finished.repository / "config.yaml", finished.repository / MINI, changed)
        return run_benchmark(name, *arguments, *config, "--results", finished.path("results"))

    return run
