"""Which figures and tables a study has, and what each of them reads."""

import json
import shlex

STREAMS_IN_ONE = as_one(
    "results/eval/{}/{}/{}.parquet",
    sorted(STUDY.datasets),
    sorted(name for name in CONTROLLERS if heeds_budget(name)),
    sorted(budget for budget in STUDY.budgets if Budget.parse(budget).promise),
)
# What figures, tables and pages are made from, by the names of adamolmo.report.inputs.
INPUTS = {
    **COMPARISONS,
    "summary": "results/summary.parquet",
    "scores": "results/importance/scores.json",
    "manifest": MODEL["manifest"],
    "streams": [str(path) for path in all_of(STREAMS_IN_ONE)],
    "profile": PROFILES,
    "grid": EVALUATION_GRIDS,
    "timing": PROFILES,
    "training": expand("results/controllers/{controller}/training.parquet", controller=LEARNING),
    "reliability": expand(
        "results/controllers/{controller}/reliability.parquet",
        controller=[name for name in CONTROLLERS if name in PREDICTORS],
    ),
    "trained": expand("results/controllers/{controller}/policy.json", controller=TRAINED),
}

# By figure, in the order of the page: its category in Snakemake's own report, and what it reads. The figure's name is
# also that of its module in adamolmo.report.figures and of its caption in workflow/report.
FIGURES = {
    "headline": ("Results", ["summary", "comparisons", "equal_latency", "promises"]),
    "pareto": ("Results", ["summary", "profile", "grid", "equal_latency"]),
    "gains": ("Results", ["summary", "comparisons"]),
    "hypervolume": ("Results", ["hypervolumes"]),
    "violations": ("Results", ["summary"]),
    "promises": ("Results", ["streams"]),
    "knob_distribution": ("Controllers", ["summary", "profile"]),
    "overhead": ("Controllers", ["summary"]),
    "stage_times": ("Knobs", ["profile"]),
    "repeatability": ("Knobs", ["profile", "timing"]),
    "importance": ("Knobs", ["scores", "profile"]),
    "training_curves": ("Controllers", ["training"]),
    "reliability": ("Controllers", ["reliability"]),
}
# A study has the figures for which it has something to read.
FIGURES = {name: (category, names) for name, (category, names) in FIGURES.items() if all(map(INPUTS.get, names))}
if STUDY.latency.clock == "modelled":
    del FIGURES["repeatability"]  # nothing is timed, so nothing repeats

TABLES = ["accuracy", "violations", "gains"]
# Design 1 against design 2, where the study has both.
if all(any(name.startswith(design) for name in TRAINED) for design in ("two-stage-", "single-stage-")):
    TABLES += ["designs"]

TEMPLATES = Path(HERE, "workflow/report")


def inputs(*names):
    """Those of these inputs that the study has."""
    return {name: INPUTS[name] for name in names if INPUTS.get(name)}


def options(wildcards, input):
    """Every input of a rule as an option of its script, under its own name, and the titles of the datasets; thousands of
    files as one text."""
    paths = {name: [files] if isinstance(files, str) else files for name, files in input.items()}
    paths |= {"streams": [STREAMS_IN_ONE]} if "streams" in paths else {}
    paths["titles"] = [json.dumps(STUDY.titles)]
    return " ".join(shlex.join([f"--{name.replace('_', '-')}", *files]) for name, files in paths.items())


def figure_inputs(wildcards):
    return inputs(*FIGURES[wildcards.figure][1])


def figure_data(figure):
    """The tables that a figure is drawn from, relative to the report; of those with a file per dataset or cell none."""
    files = [INPUTS[name] for name in FIGURES[figure][1]]
    return [file.removeprefix("results/") for file in files if isinstance(file, str)]


def figure_category(wildcards):
    return FIGURES[wildcards.figure][0]


def figure_code(wildcards):
    return code("plot.py", f"adamolmo.report.figures.{wildcards.figure}")
