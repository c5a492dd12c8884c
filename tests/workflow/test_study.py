"""The whole study in miniature: the real rules, scripts, model and data."""

import json
import re
from itertools import pairwise
from pathlib import Path

from figure_checks import FIGURES
from mini_study import MINI, ROOT

from adamolmo.budgets import Budget
from adamolmo.config import StudyConfig
from adamolmo.controllers.table import load_table
from adamolmo.core_exp.reading import read_profiles
from adamolmo.files.comparisons import COMPARISONS, EQUAL_LATENCY, HYPERVOLUMES, PROMISES, REGRET
from adamolmo.files.core_exp import CORE_EXP
from adamolmo.files.evaluation import EVALUATION
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import read_table
from adamolmo.files.summary import SUMMARY

CONFIG = StudyConfig.load(ROOT / "config.yaml", ROOT / MINI)
# Budgets that each request is aimed at, and those that each request of the oracle is within.
AIMED = [budget for budget in CONFIG.budgets if Budget.parse(budget).promise is None]
WITHIN = [budget for budget in CONFIG.budgets if Budget.parse(budget).promise != "mean"]

DRAWN = [name for name in FIGURES if name != "repeatability"]  # nothing is timed: the clock is modelled


def test_every_cell_is_in_the_summary(finished):
    summary, _ = read_table(finished.path("results/summary.parquet"), SUMMARY)
    cells = {(d, c, b) for d in CONFIG.datasets for c in CONFIG.controllers for b in CONFIG.budgets}
    assert set(zip(summary["dataset"], summary["controller"], summary["budget"], strict=True)) == cells
    assert (summary["num_samples"] == CONFIG.samples.evaluation).all()
    assert (summary["clock"] == "modelled").all()


def test_cells_run_in_an_order_that_knows_nothing_of_controllers(finished):
    """A machine that becomes slower meanwhile is slower for all of them."""
    logs = sorted(finished.path(".snakemake/log").glob("*.log"))
    started = re.findall(r": Evaluate (\S+) on \S+ at \S+$", "".join(map(Path.read_text, logs)), re.MULTILINE)
    trained = [name for name in started if name in ("predict-overview", "two-stage-budget", "single-stage-mlp")]
    assert len(trained) == 3 * 3 * 2
    assert sum(one != next_one for one, next_one in pairwise(trained)) > 5  # 2 if each were done with its cells first


def test_every_figure_is_drawn(finished):
    plots = finished.path("results/plots")
    assert {path.stem for path in plots.glob("*.*")} == {path.stem for path in plots.glob("onecolumn/*")} == set(DRAWN)
    for figure in DRAWN:
        assert finished.path(f"results/plots/{figure}.pdf").read_bytes().startswith(b"%PDF")
        assert finished.path(f"results/plots/{figure}.png").read_bytes().startswith(b"\x89PNG")


def test_the_report_has_every_figure_the_rules_and_the_settings(finished):
    page = finished.path("results/report.html").read_text()
    for figure in DRAWN:
        assert f'<figure id="{figure}">' in page
    for rule in ("prepare_data", "core_exp", "train_controller", "evaluate", "compare"):
        assert f">{rule}</text>" in page
    warnings = re.search(r'<details class="warnings">(.*?)</details>', page, re.DOTALL)[1]
    assert "Latencies are modelled" in warnings
    assert re.search(r'<div class="answer" id="answer">\s*<p>(Budgets|No controller is shown) ', page)
    assert "seed: 0" in page


def test_snakemakes_own_report_has_the_caption_of_every_figure(finished, tmp_path):
    result = finished.snakemake("--report", tmp_path / "report.html")
    assert result.returncode == 0, result.output
    page = (tmp_path / "report.html").read_text()
    for figure in DRAWN:
        words = finished.path(f"workflow/report/{figure}.rst").read_text().split()
        assert " ".join(words[:6]) in page


def test_the_rule_graph_is_of_what_the_command_line_sets(clone):
    result = clone.snakemake("--config", "latency={clock: measured}", "--", "results/report/rule_graph.dot")
    assert result.returncode == 0, result.output
    assert "core_exp_latency" in clone.path("results/report/rule_graph.dot").read_text()


def test_every_two_controllers_are_compared(finished):
    table, _ = read_table(finished.path("results/comparisons.parquet"), COMPARISONS)
    pairs = {(a, b) for a in CONFIG.controllers for b in CONFIG.controllers if a != b}
    budgets = {*CONFIG.budgets, "per-request", "p95", "mean"}
    assert len(table) == (len(CONFIG.datasets) + 1) * len(budgets) * len(pairs)
    assert set(table["budget"]) == budgets
    assert set(zip(table["controller"], table["other"], strict=True)) == pairs
    assert set(table["dataset"]) == {*CONFIG.datasets, "all"}
    areas, _ = read_table(finished.path("results/hypervolumes.parquet"), HYPERVOLUMES)
    assert len(areas) == len(CONFIG.datasets) * len(CONFIG.controllers)
    for name in ("accuracy", "violations", "gains", "designs"):
        assert finished.path(f"results/tables/{name}.csv").read_text().startswith("dataset,")
        assert r"\begin{tabularx}" in finished.path(f"results/tables/{name}.tex").read_text()


def test_the_profile_covers_the_grid(finished):
    paths = [finished.path(f"results/core_exp/{dataset}.parquet") for dataset in CONFIG.datasets]
    profile, shared = read_profiles(paths)
    assert len(profile) == len(CONFIG.datasets) * CONFIG.samples.profile * len(CONFIG.knobs.grid.configs)
    assert shared["clock"] == "modelled"
    assert shared["model_checksum"] == json.loads(finished.path("results/model/manifest.json").read_text())["checksum"]


def test_a_measured_profile_in_shards(study, config):
    """The timed samples' rows are measured, the others estimated, and the parts know what they belong to."""
    changed = config(
        "core_exp: {shards: 2}\nlatency: {clock: measured, samples: 3, repeats: 2, drift_limit_pct: 1000.0}"
    )
    target = "results/core_exp/okvqa.parquet"
    rules = ("core_exp", "core_exp_latency", "merge_core_exp")
    result = study.snakemake("--allowed-rules", *rules, "--", target, configs=(changed,))
    assert result.returncode == 0, result.output
    profile, metadata = read_table(study.path(target), CORE_EXP)
    grid = CONFIG.knobs.grid.configs
    assert profile["latency_source"].value_counts().to_dict() == {"estimated": 9 * len(grid), "measured": 3 * len(grid)}
    assert (metadata["clock"], metadata["num_timed"], metadata["num_samples"]) == ("measured", 3, 12)
    assert metadata["answer_agreement"] == 1.0
    assert metadata["versions"].keys() == {"adamolmo", "python", "torch", "numpy"}
    assert metadata["unaccounted_pct"]["median"] < 1
    stages = profile[["vision_ms", "prefill_ms", "decode_ms"]].sum(axis=1)
    assert abs(stages / profile["latency_ms"] - 1).max() < 0.01
    reference = json.loads(study.path("results/core_exp/okvqa.reference.json").read_text())
    assert reference["clock"] == "measured"


def test_a_cell_follows_its_lookup_table(finished):
    """The evaluated requests used the configuration that the table, made from the profile, has at the budget."""
    for dataset in CONFIG.datasets:
        table = load_table(finished.path(f"results/lookup/mean/{dataset}.json"))
        for budget in AIMED:
            cell = finished.path(f"results/eval/{dataset}/lookup-mean/{budget}")
            summary = json.loads(cell.with_suffix(".json").read_text())
            chosen = table.choose(summary["budget_ms"], CONFIG.lookup.tolerance)
            assert summary["knob_counts"] == {str(chosen.config): CONFIG.samples.evaluation}
            requests, _ = read_table(cell.with_suffix(".parquet"), EVALUATION)
            stages = requests[["vision_ms", "prefill_ms", "controller_ms", "decode_ms"]].sum(axis=1)
            assert abs(stages / requests["latency_ms"] - 1).max() < 0.01


def test_no_controller_beats_the_oracle_within_the_budget(finished):
    """The requests that met the budget were right where the oracle, which met it too, was right as well."""
    for dataset in CONFIG.datasets:
        for budget in WITHIN:
            cells = finished.path(f"results/eval/{dataset}")
            best = read_table(cells / "oracle" / f"{budget}.parquet", EVALUATION)[0].set_index("sample_id")
            budget_ms = json.loads((cells / "oracle" / f"{budget}.json").read_text())["budget_ms"]
            for controller in set(CONFIG.controllers) - {"oracle"}:
                own = read_table(cells / controller / f"{budget}.parquet", EVALUATION)[0].set_index("sample_id")
                met = own.index[own["latency_ms"] <= budget_ms]
                assert (best.loc[met, "accuracy"] >= own.loc[met, "accuracy"]).all()


def test_the_static_frontier_is_that_of_the_evaluation_questions(finished):
    """A static controller's answers are those of the grid, so at its own latency it gains nothing on itself."""
    for dataset in CONFIG.datasets:
        grid, _ = read_table(finished.path(f"results/core_exp_evaluation/{dataset}.parquet"), CORE_EXP)
        full = CONFIG.knobs.grid.full
        rows = grid[(grid["top_k"] == full.top_k) & (grid["num_active_blocks"] == full.num_active_blocks)]
        rows = rows[rows["tier"] == full.tier].set_index("sample_id")
        cell, _ = read_table(finished.path(f"results/eval/{dataset}/static-full/60pct.parquet"), EVALUATION)
        assert (rows.loc[cell["sample_id"], "prediction"].to_numpy() == cell["prediction"].to_numpy()).all()
    gains, _ = read_table(finished.path("results/equal_latency.parquet"), EQUAL_LATENCY)
    assert set(gains["controller"]) == set(CONFIG.controllers)


def test_what_is_promised_is_found_of_everyone_who_heeds_budgets(finished):
    table, _ = read_table(finished.path("results/promises.parquet"), PROMISES)
    assert set(table["controller"]) == set(CONFIG.controllers) - {"oracle", "static-full"}
    assert set(table["budget"]) == {"75pct-p95", "p95", "75pct-mean", "mean"}


def test_regret_is_the_oracles_gain(finished):
    regret, _ = read_table(finished.path("results/regret.parquet"), REGRET)
    comparisons, _ = read_table(finished.path("results/comparisons.parquet"), COMPARISONS)
    of_oracle = comparisons[comparisons["controller"] == "oracle"].drop(columns="controller")
    both = regret.merge(of_oracle.rename(columns={"other": "controller"}), on=["dataset", "controller", "budget"])
    assert len(both) == len(regret) == len(of_oracle)
    assert (both["regret"] == both["accuracy_gain"]).all()


def test_the_page_has_every_controller(finished):
    text = finished.path("results/controllers.md").read_text()
    for controller in CONFIG.controllers:
        assert text.count(f"`{controller}`") >= (1 if controller == "oracle" else 5)


def test_the_splits_share_no_image(finished):
    for dataset in CONFIG.datasets:
        images = []
        for split in ("importance", "profile", "evaluation"):
            path = finished.path(f"results/data/{dataset}/{split}.parquet")
            images.append({bytes(image) for image in read_table(path, SAMPLES, ["image"])[0]["image"]})
        assert len(set.union(*images)) == sum(map(len, images))
