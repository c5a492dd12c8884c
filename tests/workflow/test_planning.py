"""Planning a large study stays cheap: what each further job costs, in calls and files instead of seconds."""

import json

import planning
import pytest


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> dict:
    """The plan of a study with nine datasets, eight budgets, twelve controllers and a few shards."""
    folder = tmp_path_factory.mktemp("planning")
    config = folder / "full.yaml"
    config.write_text(json.dumps(planning.full_size(shards=3)))
    return planning.plan(folder / "plan", planning.MOLMOE, config, profiled=True)


def test_every_cell_and_shard_is_planned(record):
    cells, shards, latencies = 9 * 8 * 12, 2 * 9 * 3 * 3, 2 * 9 * 3
    of_datasets = 9 * (3 + 1 + 2 + 1)  # splits, importance, merged profiles, features
    learned, others = 4, 20
    assert cells + shards + latencies + of_datasets + learned < record["jobs"]
    assert record["jobs"] < cells + shards + latencies + of_datasets + learned + others


def test_nothing_heavy_is_imported(record):
    assert record["heavy_packages"] == []


def test_settings_and_code_are_worked_out_once(record):
    """Not once per job: there are few different settings, and some two dozen scripts."""
    assert 0 < record["calls"]["config.py:subset"] < 130
    assert 0 < record["calls"]["code_files.py:code_files"] < 50


def test_a_job_has_few_input_files(record):
    """Snakemake looks at every input file of every job many times."""
    dependencies = record["calls"]["dag.py:collect_potential_dependencies"]
    assert dependencies / record["jobs"] < 15
