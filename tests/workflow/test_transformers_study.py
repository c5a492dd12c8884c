"""The whole study on a tiny random model of transformers, offline: two runs are equal to the byte.

ADAMOLMO_FAMILY=aria pytest tests/workflow/test_transformers_study.py
"""

import json
import os
from pathlib import Path

import pytest
import yaml
from mini_study import ROOT, Study

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")

from adamolmo.files.schema import read_table
from adamolmo.files.summary import SUMMARY

FAMILY = os.environ.get("ADAMOLMO_FAMILY", "qwen3_vl_moe")
TARGET = "results/plots/pareto.pdf"
CELL = "results/eval/okvqa/two-stage-budget/75pct-mean"
OTHERS_TIERS = {"low": None, "medium": None, "high": None}


@pytest.fixture
def tiny(tmp_path, monkeypatch, config) -> Path:
    """The configuration of the study, on a checkpoint beside it."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "backends")
    from tiny_families import TINY_FAMILIES, build_checkpoint

    tiers = {f"tiny_{tier}": {"processor": TINY_FAMILIES[FAMILY].tiers[tier]} for tier in ("low", "high")}
    settings = {
        "model": {"checkpoint": str(build_checkpoint(FAMILY, tmp_path / "checkpoint"))},
        "knobs": {"tiers": OTHERS_TIERS | tiers, "top_k": [2, 4], "num_active_blocks": [4, 6]},
        "importance": {"tier": "tiny_high"},
    }
    return config(yaml.safe_dump(settings))


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
    assert manifest["model_type"] == FAMILY and len(manifest["checks"]) == 5
    summary, _ = read_table(clone.path("results/summary.parquet"), SUMMARY)
    assert len(summary) == 2 * 6 * 3 and set(summary["num_failed"]) <= {0}

    result = clone.snakemake("--force", "--", f"{CELL}.parquet", configs=(tiny,))
    assert result.returncode == 0, result.output
    assert result.planned == {"evaluate": 1}
    assert contents(clone) == first
