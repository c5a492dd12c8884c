"""Planning a large study stays cheap: what each further job costs, in calls and files instead of seconds."""

import json

import planning
import pytest


@pytest.fixture(scope="module")
def profile(tmp_path_factory) -> planning.Profile:
    """The plan of a study with nine datasets, eight budgets, twelve controllers and a few shards."""
    folder = tmp_path_factory.mktemp("planning")
    config = folder / "full.yaml"
    config.write_text(json.dumps(planning.full_size(shards=3)))
    return planning.profile_plan(folder / "plan", planning.MOLMOE, config)


def test_every_cell_and_shard_is_planned(profile):
    cells, shards, latencies = 9 * 8 * 12, 2 * 9 * 3 * 3, 2 * 9 * 3
    of_datasets = 9 * (3 + 1 + 2 + 1)  # splits, importance, merged profiles, features
    learned, others = 4, 40  # figures, tables, the report, ...
    assert cells + shards + latencies + of_datasets + learned < profile.jobs
    assert profile.jobs < cells + shards + latencies + of_datasets + learned + others


def test_nothing_heavy_is_imported(profile):
    assert profile.heavy_packages == []


def test_settings_and_code_are_worked_out_once(profile):
    """Not once per job: there are few different settings, and some two dozen scripts."""
    assert 0 < profile.calls["config.py:subset"] < 130
    assert 0 < profile.calls["code_files.py:code_files"] < 50


def test_a_job_has_few_input_files(profile):
    """Snakemake looks at every input file of every job many times."""
    dependencies = profile.calls["dag.py:collect_potential_dependencies"]
    assert dependencies / profile.jobs < 15
