"""The whole study on a tiny random model of transformers, offline: two runs are equal to the byte."""

import json
from pathlib import Path

import pytest
from mini_study import ROOT, Study

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")

from adamolmo.files.schema import read_table
from adamolmo.files.summary import SUMMARY

NAME = "qwen3_vl_moe"
TARGET = "results/plots/pareto.pdf"
CELL = "results/eval/okvqa/two-stage-budget/75pct-mean"
CONFIG = """
model: {{checkpoint: {checkpoint}}}
knobs:
  tiers:
    low: null
    medium: null
    high: null
    t_low: {{processor: {{size: {{shortest_edge: 4096, longest_edge: 16384}}}}}}
    t_high: {{processor: {{size: {{shortest_edge: 36864, longest_edge: 65536}}}}}}
  top_k: [2, 4]
  num_active_blocks: [4, 6]
importance: {{tier: t_high}}
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch, config) -> Path:
    """The configuration of the study, on a checkpoint beside it."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "backends")
    from tiny_families import build_checkpoint

    return config(CONFIG.format(checkpoint=build_checkpoint(NAME, tmp_path / "checkpoint")))


def contents(study: Study) -> dict[str, bytes]:
    """Of all result files but the study's own number and the note that belongs to one Snakemake."""
    results = study.path("results")
    files = (path for path in results.rglob("*") if path.is_file() and path.name not in ("study_id", ".verified"))
    return {str(path.relative_to(results)): path.read_bytes() for path in files}


def test_the_study_is_the_same_twice_and_a_cell_of_it_alone(clone, tiny, tmp_path):
    runs = [clone, Study(clone.repository, tmp_path / "again")]
    for run in runs:
        run.directory.mkdir(exist_ok=True)
        result = run.snakemake("--", TARGET, configs=(tiny,))
        assert result.returncode == 0, result.output
    first, second = map(contents, runs)
    assert first.keys() == second.keys() and len(first) > 100
    assert [name for name in first if first[name] != second[name]] == []

    manifest = json.loads(first["model/manifest.json"])
    assert manifest["model_type"] == NAME and len(manifest["checks"]) == 5
    summary, _ = read_table(clone.path("results/summary.parquet"), SUMMARY)
    assert len(summary) == 2 * 6 * 3 and set(summary["num_failed"]) <= {0}

    result = clone.snakemake("--force", "--", f"{CELL}.parquet", configs=(tiny,))
    assert result.returncode == 0, result.output
    assert result.planned == {"evaluate": 1}
    assert contents(clone) == first
