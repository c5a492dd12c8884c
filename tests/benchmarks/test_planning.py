"""Planning a large study stays cheap: what each further job costs, in calls and files instead of seconds."""

SHARDS = 3


def test_planning_a_large_study(run_benchmark):
    """Nine datasets, eight budgets, twelve controllers and a few shards."""
    outcome = run_benchmark("planning", "--shards", f"{SHARDS}")
    small, full = outcome.record["molmoe-1b"], outcome.record["full size"]
    for name, record in outcome.record.items():
        assert record["cpu_s"] > 0
        assert f"{name}: {record['jobs']} jobs, {record['cpu_s']:.1f} s of CPU" in outcome.printed
        assert record["heavy_packages"] == []

    cells, accuracies, latencies = 9 * 8 * 12, 2 * 9 * 3 * SHARDS, 9 * SHARDS
    of_datasets = 9 * (3 + 1 + 2 + 1 + 1)  # splits, importance, profile and grid, features, expected latency
    learned, others = 4, 40  # figures, tables, the report, ...
    least = cells + accuracies + latencies + of_datasets + learned
    assert least < full["jobs"] < least + others
    assert 0 < small["jobs"] < full["jobs"]

    # Not once per job: there are few different settings, and some two dozen scripts.
    assert 0 < full["calls"]["study.py:subset"] < 130
    assert 0 < full["calls"]["code_files.py:code_files"] < 50
    # Snakemake looks at every input file of every job many times.
    assert full["calls"]["dag.py:collect_potential_dependencies"] / full["jobs"] < 8.0
