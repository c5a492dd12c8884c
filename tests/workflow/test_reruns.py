"""What Snakemake plans after a change: everything that depends on it, and nothing else."""

import os

import pytest
from mini_study import only_error

TEXTS = {"table": 4, "controllers_page": 1, "examples": 1, "report": 1}
# Two datasets under three budgets, two of which promise something, and five controllers of which three are trained.
# 7 figures show evaluated cells, 1 the requests under promises, 2 the profile (no times repeat: the clock is modelled),
# 2 the training of the controllers.
AFTER_CELLS = {"summarise": 1, "compare": 1, "figure": 7, **TEXTS, "all": 1}
AFTER_PROMISED_CELLS = AFTER_CELLS | {"figure": 8}
AFTER_TRAINING = {"rehearse": 3, "evaluate": 18, **AFTER_CELLS, "figure": 10}


def test_nothing_to_do_when_finished(finished):
    assert finished.plan() == {}


def test_one_cell_again(finished):
    assert finished.plan("-f", "--", "results/eval/text_vqa/lookup-mean/60pct.json") == {"evaluate": 1}


def test_touching_a_source_file_plans_nothing(study):
    os.utime(study.path("src/adamolmo/controllers/table.py"))
    assert study.plan() == {}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (  # policies start from the table, predictors as well
            "src/adamolmo/controllers/table.py",
            {
                "lookup": 2,
                "lookup_over_all": 1,
                "train_controller": 2,
                "train_predictor": 1,
                **AFTER_TRAINING,
                "evaluate": 30,
            },
        ),
        ("src/adamolmo/core_exp/accuracy.py", None),
        ("src/adamolmo/controllers/static.py", {"evaluate": 6, **AFTER_CELLS}),
        (
            "src/adamolmo/controllers/training/grpo.py",
            {"train_controller": 2, "train_predictor": 1, **AFTER_TRAINING},
        ),
        ("src/adamolmo/controllers/registry.py", {"controllers_page": 1, "examples": 1, "all": 1}),
        ("src/adamolmo/report/figures/panels.py", {"figure": 12, "report": 1, "all": 1}),
        ("src/adamolmo/report/figures/style.py", {"figure": 12, **TEXTS, "all": 1}),
        ("src/adamolmo/files/comparisons.py", {"compare": 1, "figure": 12, **TEXTS, "all": 1}),
        ("src/adamolmo/report/findings.py", {"report": 1, "all": 1}),
        ("src/adamolmo/report/tables.py", {"table": 4, "report": 1, "all": 1}),
        ("workflow/scripts/summarise.py", AFTER_CELLS),
        ("src/adamolmo/report/docs_pages.py", {}),
    ],
)
def test_editing_a_source_file(study, file, expected):
    path = study.path(file)
    path.write_text(path.read_text() + "\n# edited\n")
    plan = study.plan()
    if expected is None:  # the profile is made anew, and all that follows from it
        assert plan["core_exp"] == plan["core_exp_evaluation"] == 4
        assert not {"prepare_data", "prepare_model", "importance"} & plan.keys()
    else:
        assert plan == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("budgets: [60pct, 75pct-p95, 75pct-mean, 90pct]", {"evaluate": 10, "oracle": 2, **AFTER_CELLS}),
        ("budgets: [75pct-mean, 60pct, 75pct-p95]", {}),
        (
            "controllers: [oracle, static-full, static-low-k4-b12, lookup-mean, predict-overview, two-stage-budget,"
            " single-stage-mlp]",
            {"evaluate": 6, **AFTER_CELLS, "figure": 12},  # the new one gets a look of its own
        ),
        (
            "samples: {evaluation: 7}",
            {
                "prepare_data": 2,
                "evaluate": 30,
                "core_exp_evaluation": 4,
                "evaluation_grid": 2,
                "oracle": 6,
                **AFTER_PROMISED_CELLS,
            },
        ),
        (
            "training: {steps: 21}",
            {"train_controller": 2, "train_predictor": 1, **AFTER_TRAINING},
        ),
        ("latency: {samples: 2, repeats: 2}", {}),
        ("bootstrap: {resamples: 51}", {"evaluate": 30, "oracle": 6, **AFTER_PROMISED_CELLS}),
    ],
)
def test_changing_the_configuration(finished, config, text, expected):
    of_report = {"rule_graph": 1, "report": 1, "all": 1}  # the report prints the configuration
    assert finished.plan(configs=(config(text),)) == {**expected, **of_report}


def test_a_controller_of_ones_own_plans_its_cells_alone(study, config):
    """One file and one entry of the configuration; its cells are made again when its file changes, and no others."""
    own = study.path("mine.py")
    own.write_text("from adamolmo.controllers.static import load\n")
    text = "own_controllers: {mine: {module: mine.py, tables: [mean]}}\n"
    text += "controllers: [oracle, static-full, lookup-mean, predict-overview, two-stage-budget, single-stage-mlp,"
    text += " mine]"
    planned = {"evaluate": 6, **AFTER_CELLS, "figure": 12, "rule_graph": 1}
    assert study.plan(configs=(config(text),)) == planned
    cell = "results/eval/text_vqa/mine/60pct.json"
    assert study.plan("--", cell, configs=(config(text),)) == {"evaluate": 1}
    own.unlink()
    result = study.snakemake("--dry-run", configs=(config(text),))
    assert "key 'own_controllers.mine.module': module 'mine.py' does not exist" in only_error(result)


def test_other_weights_are_noticed_whatever_their_time(study):
    path = study.path("resources/embedded/model.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, (0, 0))
    assert {"prepare_model", "importance", "core_exp", "evaluate"} <= study.plan().keys()


def test_a_new_dataset_plans_its_own_jobs(finished, config):
    """The blocks are ranked and the controllers trained on the datasets that say so; a new one does not."""
    text = "datasets: {coco_2014_vqa: {source: procedural, style: vqa2, scorer: vqa, used_for: []}}"
    planned = {
        "prepare_data": 2,
        "core_exp": 2,
        "merge_core_exp": 1,
        "lookup": 1,
        "lookup_over_all": 1,
        "expected_latency": 1,
        "config_latency": 1,
        "evaluate": 15,
        "core_exp_evaluation": 2,
        "evaluation_grid": 1,
        "oracle": 3,
        **AFTER_CELLS,
        "figure": 10,
        "rule_graph": 1,
    }
    assert finished.plan(configs=(config(text),)) == planned
    everything = finished.plan(configs=(config(text.replace("[]", "[importance, training]")),))
    assert everything["importance"] == 1 and everything["train_controller"] == 2 and everything["evaluate"] == 45


@pytest.mark.parametrize("figure", ["overhead", "training_curves"])
def test_editing_a_figure_draws_it_alone(study, figure):
    """And the report again, which shows it."""
    path = study.path(f"src/adamolmo/report/figures/{figure}.py")
    path.write_text(path.read_text() + "\n# edited\n")
    result = study.snakemake("--dry-run")
    assert [line.split("Figure: ")[1] for line in result.output.splitlines() if ": Figure: " in line] == [figure]
    assert result.planned == {"figure": 1, "report": 1, "all": 1}


@pytest.mark.parametrize("file", ["overhead.rst", "report.html.j2"])
def test_editing_a_caption_or_the_page_draws_no_figure(study, file):
    path = study.path(f"workflow/report/{file}")
    path.write_text(path.read_text() + "\n")
    assert study.plan() == {"report": 1, "all": 1}


def test_a_new_budget_plans_its_own_cells(finished, config):
    """The plan names the cells of a new budget, not only their number."""
    result = finished.snakemake("--dry-run", configs=(config("budgets: [60pct, 75pct-p95, 75pct-mean, 90pct]"),))
    evaluated = [line.split(": ", 1)[1] for line in result.output.splitlines() if ": Evaluate " in line]
    assert len(evaluated) == 10
    assert all(line.endswith(" at 90pct") for line in evaluated)
