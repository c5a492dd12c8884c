"""The whole study in miniature: the real rules, scripts, model and data."""

import json
import re
from dataclasses import replace

from mini_study import MINI, ROOT

from adamolmo.config import StudyConfig
from adamolmo.lookup import load_tables
from adamolmo.profiles import read_profiles
from adamolmo.schema import COMPARISONS, EVALUATION, SAMPLES, SUMMARY, read_table

CONFIG = StudyConfig.load(ROOT / "config.yaml", ROOT / MINI)
PLOTS = ("pareto", "gains", "hypervolume", "violations", "knob_distribution", "overhead", "stage_times")
PLOTS += ("repeatability", "importance", "training_curves")
TABLES = (".parquet", ".json", ".safetensors")


def test_two_runs_give_equal_bytes(finished, tmp_path):
    again = replace(finished, directory=tmp_path)
    result = again.snakemake("--", "results/summary.parquet")
    assert result.returncode == 0, result.output
    made = [
        path.relative_to(finished.directory) for path in finished.path("results").rglob("*") if path.suffix in TABLES
    ]
    assert len(made) > 40
    different = [str(name) for name in made if finished.path(name).read_bytes() != again.path(name).read_bytes()]
    assert different == []


def test_every_cell_is_in_the_summary(finished):
    summary, _ = read_table(finished.path("results/summary.parquet"), SUMMARY)
    cells = {(d, c, b) for d in CONFIG.datasets for c in CONFIG.controllers for b in CONFIG.budgets}
    assert set(zip(summary["dataset"], summary["controller"], summary["budget"], strict=True)) == cells
    assert (summary["num_samples"] == CONFIG.samples.evaluation).all()
    assert (summary["clock"] == "modelled").all()


def test_every_figure_is_drawn(finished):
    for plot in PLOTS:
        assert finished.path(f"results/plots/{plot}.pdf").read_bytes().startswith(b"%PDF")
        assert finished.path(f"results/plots/{plot}.png").read_bytes().startswith(b"\x89PNG")


def test_the_report_has_every_figure_the_rules_and_the_settings(finished):
    page = finished.path("results/report.html").read_text()
    for plot in PLOTS:
        assert f'<figure id="{plot}">' in page
    for rule in ("prepare_data", "core_exp", "train_controller", "evaluate", "compare"):
        assert f">{rule}</text>" in page
    first = re.search(r'<p class="findings">(.*?)</p>', page, re.DOTALL)[1]
    assert "Warning: latencies are modelled" in first
    assert "seed: 0" in page


def test_every_two_controllers_are_compared(finished):
    table, _ = read_table(finished.path("results/comparisons.parquet"), COMPARISONS)
    pairs = {(a, b) for a in CONFIG.controllers for b in CONFIG.controllers if a != b}
    assert len(table) == len(CONFIG.datasets) * (len(CONFIG.budgets) + 1) * len(pairs)
    assert set(zip(table["controller"], table["other"], strict=True)) == pairs
    for name in ("accuracy", "violations", "gains"):
        assert finished.path(f"results/tables/{name}.csv").read_text().startswith("dataset,controller,")
        assert r"\begin{tabular}" in finished.path(f"results/tables/{name}.tex").read_text()


def test_the_profile_covers_the_grid(finished):
    paths = [finished.path(f"results/core_exp/{dataset}.parquet") for dataset in CONFIG.datasets]
    profile, shared = read_profiles(paths)
    assert len(profile) == len(CONFIG.datasets) * CONFIG.samples.profile * len(CONFIG.knobs.grid())
    assert shared["clock"] == "modelled"
    assert shared["model_checksum"] == json.loads(finished.path("results/model/manifest.json").read_text())["checksum"]


def test_a_cell_follows_its_lookup_table(finished):
    """The evaluated requests used the configuration that the table, made from the profile, has at the budget."""
    for dataset in CONFIG.datasets:
        table = load_tables(finished.path("results/lookup/mean.json"))[dataset]
        for budget in CONFIG.budgets:
            cell = finished.path(f"results/eval/{dataset}/lookup-mean/{budget}")
            summary = json.loads(cell.with_suffix(".json").read_text())
            chosen = table.choose(summary["budget_ms"], CONFIG.lookup.tolerance)
            assert summary["knob_counts"] == {str(chosen.config): CONFIG.samples.evaluation}
            requests, _ = read_table(cell.with_suffix(".parquet"), EVALUATION)
            stages = requests[["vision_ms", "prefill_ms", "controller_ms", "decode_ms"]].sum(axis=1)
            assert abs(stages / requests["latency_ms"] - 1).max() < 0.01


def test_the_splits_share_no_image(finished):
    for dataset in CONFIG.datasets:
        images = []
        for split in ("importance", "profile", "evaluation"):
            path = finished.path(f"results/data/{dataset}/{split}.parquet")
            images.append({bytes(image) for image in read_table(path, SAMPLES, ["image"])[0]["image"]})
        assert len(set.union(*images)) == sum(map(len, images))
