"""Shared by all rules; the validated configuration, names of files, and which code a script runs."""

import gc
import os
import re
import sys
from functools import cache
from pathlib import Path

# Planning makes millions of objects that stay; looking for garbage among them takes up to a third of its time.
gc.set_threshold(200_000, 50, 50)

# Jobs run the interpreter of Snakemake itself and the library beside this Snakefile, whose files `code` follows.
HERE = os.path.relpath(workflow.basedir)
SOURCE = os.path.join(workflow.basedir, "src")
SCRIPTS = str(Path(HERE, "workflow/scripts"))
sys.path.insert(0, SOURCE)

from adamolmo.budgets import Budget
from adamolmo.jobs.code_files import code_files, code_version
from adamolmo.config import StudyConfig
from adamolmo.config.faults import source_of
from adamolmo.config.files import read_yaml
from adamolmo.controllers.registry import POLICIES, PREDICTORS, find_controller
from adamolmo.controllers.roles import ORACLE
from adamolmo.errors import AdaMolmoError
from adamolmo.data.hub import CHECKPOINT_FILES, is_repository_name
from adamolmo.files.launcher import LAUNCHER, launcher
from adamolmo.inference.ranking import INTERNAL_RULES
from adamolmo.jobs.records import check_records, mark_results

os.environ.update(PATH=os.pathsep.join([os.path.dirname(sys.executable), *os.get_exec_path()]), PYTHONPATH=SOURCE)
os.environ[LAUNCHER] = launcher(os.getpid())


@cache
def config_sources():
    """What the configuration is merged from, later ones override: its files, the Snakefile's own first, and --config."""
    files = sorted(map(os.path.relpath, workflow.configfiles), key=lambda path: path != os.path.relpath(BASE_CONFIG))
    by_hand = workflow.config_settings.config
    return {path: read_yaml(path) for path in files} | ({"--config": by_hand} if by_hand else {})


def configured_controllers(key, names):
    """By name, without the oracle, which answers no requests."""
    found = {}
    for index, name in enumerate(names):
        try:
            found |= {} if name == ORACLE else {name: find_controller(name)}
        except AdaMolmoError as error:
            source = source_of(key.split("."), config_sources())
            raise AdaMolmoError(f"{source}: key '{key}[{index}]': {error}") from None
    return found


RESULTS, RECORDS = Path("results"), Path(".snakemake")

try:
    if not {"--touch", "-t"} & set(sys.argv):
        check_records(RESULTS, RECORDS)
    STUDY = StudyConfig.from_dict(config, config_sources())
    CONTROLLERS = configured_controllers("controllers", STUDY.controllers)
    configured_controllers("lmms_eval.controllers", STUDY.lmms_eval.controllers)
except AdaMolmoError as error:
    sys.exit(f"error: {error}")

SPLITS = ["importance", "profile", "evaluation"]
AGGREGATIONS = ["mean", "median", "max_accuracy"]
TRAINED = [name for name, controller in CONTROLLERS.items() if controller.trained]
# Those that earn rewards step by step, without the one that only joins trained parts.
LEARNING = [name for name in TRAINED if name in POLICIES and not CONTROLLERS[name].parts]
# Jobs depend on the manifest alone, which is written last and has the checksum of the others: thousands of jobs with
# one file each are planned faster than with four.
MODEL = {
    "weights": "results/model/model.safetensors",
    "config": "results/model/config.json",
    "tokenizer": "results/model/tokenizer.json",
    "manifest": "results/model/manifest.json",
}
EXPECTED_LATENCY = "results/lookup/expected_latency.json"
PROFILES = expand("results/core_exp/{dataset}.parquet", dataset=STUDY.datasets)
CELLS = expand(
    "results/eval/{dataset}/{controller}/{budget}.json",
    dataset=STUDY.datasets,
    controller=STUDY.controllers,
    budget=STUDY.budgets,
)
COMPARISONS = {"comparisons": "results/comparisons.parquet", "hypervolumes": "results/hypervolumes.parquet"}
EVALUATION_PROFILES = []
if ORACLE in STUDY.controllers:
    COMPARISONS["regret"] = "results/regret.parquet"
    EVALUATION_PROFILES = expand("results/core_exp_evaluation/{dataset}.parquet", dataset=STUDY.datasets)
PLOTS = ["pareto", "gains", "hypervolume", "violations", "knob_distribution", "overhead", "stage_times"]
PLOTS += ["repeatability", "importance"]
PLOTS += ["training_curves"] if LEARNING else []
TABLES = ["accuracy", "violations", "gains"]
# Design 1 against design 2, where the study has both.
if all(any(name.startswith(design) for name in TRAINED) for design in ("two-stage-", "single-stage-")):
    TABLES += ["designs"]
# Settings of every job that runs the model.
ENGINE_KEYS = ["model.fixed_prefix_layers", "model.dtype", "model.device", "knobs", "max_new_tokens", "latency.clock"]
# Settings of every job that answers in batches.
BATCH_KEYS = ["core_exp.batch_size", "core_exp.memory_mb", "core_exp.max_failed_fraction"]
# The study needs these only if one of their rules ranks its blocks.
INTERNAL_SCORES = expand("results/importance/internal/{dataset}.json", dataset=STUDY.datasets)
# A relative path is meant from this repository; what is no directory here may be a repository of the Hub.
CHECKPOINT = os.path.normpath(os.path.join(HERE, STUDY.model.checkpoint))
CHECKPOINT_ON_HUB = not os.path.isdir(CHECKPOINT) and is_repository_name(STUDY.model.checkpoint)
GPUS = 1 if STUDY.model.device == "cuda" else 0


def either(names):
    return "|".join(map(re.escape, names))


wildcard_constraints:
    dataset=either(STUDY.datasets),
    split=either(SPLITS),
    tier=either(STUDY.knobs.tiers),
    shard=r"\d+",


@cache
def code(script, *modules):
    """A value that changes with the script and every file of the library that it imports; `modules` are loaded by
    name. It is a parameter of the jobs: as inputs these files would make thousands of jobs slow to plan."""
    source = Path(HERE, "src")
    files = code_files(Path(SCRIPTS, script), source)
    for module in modules:
        files += code_files(source.joinpath(*module.split(".")).with_suffix(".py"), source)
    return code_version(files, HERE)


def program(name, *modules):
    """The two parameters of a job that runs a script of the workflow: where it lies, and what `code` says of it."""
    return {"script": f"{SCRIPTS}/{name}", "code": code(name, *modules)}


def checkpoint_files(wildcards):
    """Files of the configured directory; if it has none, the name that Snakemake then reports as missing."""
    if CHECKPOINT_ON_HUB:
        return []
    found = [str(path) for pattern in CHECKPOINT_FILES for path in sorted(Path(CHECKPOINT).glob(pattern))]
    return found or [os.path.join(CHECKPOINT, "config.json")]


def dataset_files(wildcards):
    """Parquet files on this machine that a dataset is read from: a change of them makes the samples anew."""
    dataset = STUDY.datasets[wildcards.dataset]
    if dataset.source != "parquet":
        return []
    path = Path(dataset.path)
    return [str(path)] if path.suffix == ".parquet" else sorted(map(str, path.rglob("*.parquet")))


def settings(*keys):
    """A params function: the canonical JSON of these keys, where `{dataset}` or `{task}` stands for the wildcard."""
    names = re.findall(r"{(\w+)}", " ".join(keys))

    @cache  # thousands of jobs ask for few different ones
    def subset(*values):
        return STUDY.subset(*(key.format(**dict(zip(names, values))) for key in keys))

    return lambda wildcards: subset(*(getattr(wildcards, name) for name in names))


def profile_parts(folder):
    """The files that a dataset's profile is merged from; latency is timed unless the clock is modelled."""
    shards = range(STUDY.core_exp.shards)
    timed = shards if STUDY.latency.samples == "all" else shards[: STUDY.latency.samples]
    if STUDY.latency.clock == "modelled":
        timed = []
    return {
        "accuracy": [
            f"{folder}/accuracy/{{dataset}}-{tier}-{shard}.parquet" for tier in STUDY.knobs.tiers for shard in shards
        ],
        "latency": [f"{folder}/latency/{{dataset}}-{shard}.parquet" for shard in timed],
    }


def number_of_samples(wildcards):
    return getattr(STUDY.samples, wildcards.split)


def known(call, *arguments):
    """`call(*arguments)`, where a fault is one sentence instead of a missing rule or a traceback."""
    try:
        return call(*arguments)
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


def controller_parts(wildcards):
    parts = known(find_controller, wildcards.controller).parts
    return [f"results/controllers/{part}/policy.json" for part in parts]
