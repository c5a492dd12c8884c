"""Shared by all rules; the validated configuration, names of files, and which code a script runs."""

import os
import re
import sys
from functools import cache
from pathlib import Path

# Jobs run the interpreter of Snakemake itself and the library beside this Snakefile, whose files `code` tracks.
HERE = os.path.relpath(workflow.basedir)
SOURCE = os.path.join(workflow.basedir, "src")
os.environ.update(PATH=os.pathsep.join([os.path.dirname(sys.executable), *os.get_exec_path()]), PYTHONPATH=SOURCE)
sys.path.insert(0, SOURCE)

from adamolmo.budgets import Budget
from adamolmo.code_files import code_files
from adamolmo.config import StudyConfig
from adamolmo.controllers.registry import find_controller
from adamolmo.errors import AdaMolmoError

# Snakemake lists the files of the command line before the Snakefile's own, which they override.
CONFIG_FILES = sorted(map(os.path.relpath, workflow.configfiles), key=lambda path: path != os.path.relpath(BASE_CONFIG))
try:
    STUDY = StudyConfig.from_dict(config, *CONFIG_FILES)
except AdaMolmoError as error:
    sys.exit(f"error: {error}")

SPLITS = ["importance", "profile", "evaluation"]
AGGREGATIONS = ["mean", "median", "max_accuracy"]
TRAINED = [name for name in STUDY.controllers if find_controller(name).trained]
MODEL = {
    "weights": "results/model/model.safetensors",
    "config": "results/model/config.json",
    "tokenizer": "results/model/tokenizer.json",
    "manifest": "results/model/manifest.json",
}
PROFILES = expand("results/core_exp/{dataset}.parquet", dataset=STUDY.datasets)
PLOTS = ["pareto", "knob_distribution", "violations", "overhead", "stage_times", "importance"]
PLOTS += ["training_curves"] if TRAINED else []
# Settings of every job that runs the model.
ENGINE_KEYS = ["model.fixed_prefix_layers", "model.dtype", "model.device", "knobs", "max_new_tokens", "latency.clock"]
# A relative path is meant from this repository.
CHECKPOINT = os.path.normpath(os.path.join(HERE, STUDY.model.checkpoint))
GPUS = 1 if STUDY.model.device == "cuda" else 0


def either(names):
    return "|".join(map(re.escape, names))


wildcard_constraints:
    dataset=either(STUDY.datasets),
    split=either(SPLITS),
    shard=r"\d+",


@cache
def code(script, *modules):
    """The script (first) and every file of the library that it imports; `modules` are loaded by name."""
    source = Path(HERE, "src")
    files = code_files(Path(HERE, "workflow/scripts", script), source)
    for module in modules:
        files += code_files(source.joinpath(*module.split(".")).with_suffix(".py"), source)
    return list(dict.fromkeys(map(str, files)))


def checkpoint(pattern):
    """Files of the configured checkpoint; if there is none, the name that Snakemake then reports as missing."""
    return [str(path) for path in sorted(Path(CHECKPOINT).glob(pattern))] or [os.path.join(CHECKPOINT, pattern)]


def settings(*keys):
    """A params function: the canonical JSON of these keys, where `{dataset}` stands for the wildcard."""
    return lambda wildcards: STUDY.subset(*(key.format(**dict(wildcards.items())) for key in keys))


def number_of_samples(wildcards):
    return getattr(STUDY.samples, wildcards.split)


def known(parse, text):
    """`parse(text)`, where a fault is one sentence instead of a missing rule."""
    try:
        return parse(text)
    except AdaMolmoError as error:
        sys.exit(f"error: {error}")


def cell_controller(wildcards):
    """Any budget and controller can be asked for, listed in the configuration or not."""
    if wildcards.dataset not in STUDY.datasets:
        sys.exit(f"error: dataset '{wildcards.dataset}' is unknown; configured are {', '.join(STUDY.datasets)}.")
    known(Budget.parse, wildcards.budget)
    return known(find_controller, wildcards.controller)


def controller_code(wildcards):
    return code("evaluate.py", cell_controller(wildcards).module)


def controller_inputs(wildcards):
    return [f"results/{path}" for path in cell_controller(wildcards).inputs]


def training_code(wildcards):
    return code("train_controller.py", known(find_controller, wildcards.controller).module)
