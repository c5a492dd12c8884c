"""Planning a large study stays cheap: what each further job costs, in calls and files instead of seconds."""

import json

import planning


def test_planning_a_large_study(tmp_path):
    """Nine datasets, eight budgets, twelve controllers and a few shards."""
    shards = 3
    config = tmp_path / "full.yaml"
    config.write_text(json.dumps(planning.full_size(shards)))
    profile = planning.profile_plan(tmp_path / "plan", planning.MOLMOE, config)

    cells, accuracies, latencies = 9 * 8 * 12, 2 * 9 * 3 * shards, 2 * 9 * shards
    of_datasets = 9 * (3 + 1 + 2 + 1)  # splits, importance, merged profiles, features
    learned, others = 4, 40  # figures, tables, the report, ...
    least = cells + accuracies + latencies + of_datasets + learned
    assert least < profile.jobs < least + others

    assert profile.heavy_packages == []
    # Not once per job: there are few different settings, and some two dozen scripts.
    assert 0 < profile.calls["study.py:subset"] < 130
    assert 0 < profile.calls["code_files.py:code_files"] < 50
    # Snakemake looks at every input file of every job many times.
    assert profile.calls["dag.py:collect_potential_dependencies"] / profile.jobs < 7.1
