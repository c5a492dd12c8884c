"""Shared by all rules; the validated configuration, names of files, and which code a script runs."""

import gc
import os
import re
import sys
import zlib
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

# Planning makes millions of objects that stay; looking for garbage among them takes up to a third of its time.
gc.set_threshold(200_000, 50, 50)

# Jobs run the interpreter of Snakemake itself and the library beside this Snakefile, whose files `code` follows.
HERE = os.path.relpath(workflow.basedir)
SOURCE = os.path.join(workflow.basedir, "src")
SCRIPTS = str(Path(HERE, "workflow/scripts"))
sys.path.insert(0, SOURCE)
# Snakemake's logger of the same name may have brought another copy of the library, an installed one.
if not find_spec("adamolmo").origin.startswith(SOURCE + os.sep):
    for loaded in [name for name in sys.modules if name.split(".")[0] == "adamolmo"]:
        del sys.modules[loaded]

from adamolmo.backend.loading import modules_for
from adamolmo.budgets import Budget
from adamolmo.jobs.calm_scheduler import calm_scheduler
from adamolmo.jobs.code_files import code_files, code_version
from adamolmo.config import StudyConfig
from adamolmo.config.faults import source_of
from adamolmo.config.files import read_yaml, typed
from adamolmo.controllers.registry import CONTROLLERS as LIBRARYS
from adamolmo.controllers.registry import PREDICTORS, find_controller
from adamolmo.controllers.roles import ORACLE, heeds_budget
from adamolmo.controllers.table import AGGREGATIONS, EXPECTED_LATENCY, table_path
from adamolmo.data.planning import check_dataset
from adamolmo.errors import AdaMolmoError
from adamolmo.files.governor import config_latency_path, response_path
from adamolmo.files.launcher import LAUNCHER, launcher
from adamolmo.files.many import all_of, as_one
from adamolmo.importance.rules import INTERNAL_RULES
from adamolmo.jobs.inputs import identity, input_files, is_on_hub
from adamolmo.jobs.records import check_records, mark_results

os.environ.update(PATH=os.pathsep.join([os.path.dirname(sys.executable), *os.get_exec_path()]), PYTHONPATH=SOURCE)
os.environ[LAUNCHER] = launcher(os.getpid())
calm_scheduler()
# Figures go to files; a notebook's setting would stop matplotlib from being imported.
os.environ.update(MPLBACKEND="agg")


def known(call, *arguments):
    """`call(*arguments)`, where a fault is one sentence instead of a missing rule or a traceback."""
    try:
        return call(*arguments)
    except AdaMolmoError as error:
        sys.exit(f"error: {error}")


@cache
def config_sources():
    """What the configuration is merged from, later ones override: its files, the Snakefile's own first, and --config."""
    files = sorted(map(os.path.relpath, workflow.configfiles), key=lambda path: path != os.path.relpath(BASE_CONFIG))
    by_hand = typed(workflow.config_settings.config or {})
    return {path: read_yaml(path) for path in files} | ({"--config": by_hand} if by_hand else {})


def registered(name):
    """How a controller is loaded, one of the library or of the study's own."""
    return find_controller(name, STUDY.own_controllers)


def configured_controllers(key, names):
    """By name, without the oracle, which answers no requests."""
    found = {}
    for index, name in enumerate(names):
        try:
            found |= {} if name == ORACLE else {name: registered(name)}
        except AdaMolmoError as error:
            raise fault_of(f"{key}[{index}]", error) from None
    return found


def fault_of(key, error):
    """With the key that it is about, and where that stands."""
    location = re.sub(r"\[\d+\]$", "", key).split(".")
    return AdaMolmoError(f"{source_of(location, config_sources())}: key '{key}': {error}")


def module_file(module):
    """The file of a module of the library, or of one's own: a Python file, or a dotted name."""
    if module.endswith(".py"):
        file = Path(module)
    elif module.split(".")[0] == "adamolmo":
        file = Path(HERE, "src", *module.split(".")).with_suffix(".py")
    else:
        try:
            spec = find_spec(module)
        except (ImportError, TypeError, ValueError):  # there is not even the package, or this is no name
            spec = None
        file = Path((spec and spec.origin) or "")
    if not os.path.isfile(file):
        raise AdaMolmoError(f"module '{module}' does not exist; expected a Python file, or a dotted name.")
    return file


def configured_files():
    """By key, the files of this machine that the configuration names, and the modules of own controllers: all must be
    there, even if nothing is left to do."""
    find = input_files(STUDY, Path(HERE))
    find |= {
        f"own_controllers.{name}.module": partial(lambda module: [module_file(module)], own.module)
        for name, own in STUDY.own_controllers.items()
    }
    found = {}
    for key, files in find.items():
        try:
            found[key] = files()
        except AdaMolmoError as error:
            raise fault_of(key, error) from None
    return found


def configured_checkpoint():
    """Whether it is to be had from the Hub, and its name there or its directory; a relative path is meant from here."""
    name = STUDY.model.checkpoint
    on_hub = is_on_hub(name, Path(HERE))
    return on_hub, name if on_hub else os.path.normpath(Path(HERE, name))


def configured_backends():
    """The modules that the model is run by: they are loaded by name."""
    try:
        return modules_for(None if CHECKPOINT_ON_HUB else Path(CHECKPOINT))
    except AdaMolmoError as error:
        raise fault_of("model.checkpoint", error) from None


RESULTS, RECORDS = Path("results"), Path(".snakemake")
BASE_CONFIG = os.path.join(workflow.basedir, "config.yaml")
known(read_yaml, BASE_CONFIG)  # before Snakemake reads it, as `adamolmo.jobs.first_look` does with the other files


configfile: BASE_CONFIG


try:
    if not {"--touch", "-t"} & set(sys.argv):
        check_records(RESULTS, RECORDS)
    # Snakemake reads these files as well, but as a YAML in which `no` is false and the last of two equal keys counts.
    STUDY = StudyConfig.from_sources(config_sources())
    CONTROLLERS = configured_controllers("controllers", STUDY.controllers)
    configured_controllers("lmms_eval.controllers", STUDY.lmms_eval.controllers)
    INPUT_FILES = configured_files()
    CHECKPOINT_ON_HUB, CHECKPOINT = configured_checkpoint()
    BACKENDS = configured_backends()
except AdaMolmoError as error:
    sys.exit(f"error: {error}")

SPLITS = ["importance", "profile", "evaluation"]
TRAINED = [name for name, controller in CONTROLLERS.items() if controller.trained]
# Those that earn rewards step by step, without the one that only joins trained parts.
LEARNING = [name for name in TRAINED if name not in PREDICTORS and not CONTROLLERS[name].parts]
# What the library has no look for: figures tell them apart, and have to know them all for it.
UNFAMILIAR = sorted({*STUDY.controllers, *STUDY.lmms_eval.controllers} - {*LIBRARYS, ORACLE})
# Jobs depend on the manifest alone, which is written last and has the checksum of the others: thousands of jobs with
# one file each are planned faster than with four.
MODEL = {
    "weights": "results/model/model.safetensors",
    "config": "results/model/config.json",
    "tokenizer": "results/model/tokenizer.json",
    "manifest": "results/model/manifest.json",
}
PROFILES = expand("results/core_exp/{dataset}.parquet", dataset=STUDY.datasets)
# Sorted: in another order it is the same study.
CELLS_IN_ONE = as_one("results/eval/{}/{}/{}.json", *map(sorted, (STUDY.datasets, STUDY.controllers, STUDY.budgets)))
CELLS = [str(path) for path in all_of(CELLS_IN_ONE)]
EVALUATION_GRIDS = expand("results/core_exp_evaluation/{dataset}.parquet", dataset=STUDY.datasets)
COMPARISONS = {name: f"results/{name}.parquet" for name in ("comparisons", "equal_latency", "promises", "hypervolumes")}
if ORACLE in STUDY.controllers:
    COMPARISONS["regret"] = "results/regret.parquet"
# Settings of every job that runs the model.
ENGINE_KEYS = [
    *("model.fixed_prefix_layers", "model.dtype", "model.device", "knobs", "samples.max_megapixels"),
    *("max_new_tokens", "latency.clock"),
]
# Settings of every job that answers in batches.
BATCH_KEYS = ["core_exp.batch_size", "core_exp.memory_mb", "core_exp.max_failed_fraction"]
# Where the samples come from.
SOURCE_KEYS = ["source", "path", "package", "config", "splits", "columns", "style", "scorer"]
# What a job must know of its dataset: the samples are made already.
DATASET_KEYS = ["datasets.{dataset}.style", "datasets.{dataset}.scorer"]


def keys_of(datasets):
    return [key.format(dataset=name) for name in datasets for key in DATASET_KEYS]


# A dataset that is added later makes neither the ranking nor the controllers again.
SCORED, LEARNED = STUDY.datasets_for("importance"), STUDY.datasets_for("training")
EXPECTED_LATENCIES = [f"results/{table_path(EXPECTED_LATENCY, dataset)}" for dataset in LEARNED]
# The study needs these only if one of their rules ranks its blocks.
INTERNAL_SCORES = expand("results/importance/internal/{dataset}.json", dataset=SCORED)
GPUS = STUDY.model.gpus if STUDY.model.device == "cuda" else 0


def either(names):
    return "|".join(map(re.escape, names))


wildcard_constraints:
    dataset=either(STUDY.datasets),
    split=either(SPLITS),
    tier=either(STUDY.knobs.tiers),
    shard=r"\d+",


@cache
def code(script, *modules, on_device=False):
    """A value that changes with the script and every file of the library that it imports; `modules` are loaded by
    name. It is a parameter of the jobs: as inputs these files would make thousands of jobs slow to plan."""
    return known(_code, script, *modules, "adamolmo.jobs.start", *(BACKENDS if on_device else []))


def _code(script, *modules):
    started = Path(SCRIPTS, script), *map(module_file, modules)
    return code_version([file for start in started for file in files_behind(start)], HERE)


@cache
def files_behind(start):
    return code_files(start, Path(HERE, "src"))


def command(script, on_device=False):
    """What starts a script of the workflow; one that runs the model waits for a device before it does anything."""
    device = f"{STUDY.model.device} {STUDY.model.gpus}" if on_device else "none 0"
    return f"python -m adamolmo.jobs.start {device} {quote(str(Path(SCRIPTS, script)))}"


def program(script, *modules, on_device=False):
    """The two parameters of a job that runs a script of the workflow: how it starts, and what `code` says of it."""
    return {"run": command(script, on_device), "code": code(script, *modules, on_device=on_device)}


def model_files(wildcards):
    return INPUT_FILES.get("model.checkpoint", [])


def encoder_files(wildcards):
    """The weights that a controller starts from."""
    configured = INPUT_FILES.get("training.mobilevit.checkpoint", [])
    return configured if wildcards.controller.endswith("-mobilevit") else []


@cache
def identity_of(*files):
    return known(identity, files)


def content(files):
    """A params function: what the files of an input function hold, whatever their time."""
    return lambda wildcards: identity_of(*files(wildcards))


def settings(*keys):
    """A params function: the canonical JSON of these keys, where `{dataset}` or `{task}` stands for the wildcard."""
    names = re.findall(r"{(\w+)}", " ".join(keys))

    @cache  # thousands of jobs ask for few different ones
    def subset(*values):
        return STUDY.subset(*(key.format(**dict(zip(names, values))) for key in keys))

    return lambda wildcards: subset(*(getattr(wildcards, name) for name in names))


def parts_of(folder, dataset):
    """The files that a dataset's profile is merged from, as `files.many` writes them; latency is timed unless the clock
    is modelled."""
    shards = range(STUDY.core_exp.shards)
    timed = shards if STUDY.latency.samples == "all" else shards[: STUDY.latency.samples]
    if STUDY.latency.clock == "modelled":
        timed = []
    return {
        "accuracy": as_one(f"{folder}/accuracy/{dataset}-{{}}-{{}}.parquet", STUDY.knobs.tiers, shards),
        "latency": as_one(f"{folder}/latency/{dataset}-{{}}.parquet", timed),
    }


def part_files(folder, kind):
    return lambda wildcards: [str(path) for path in all_of(parts_of(folder, wildcards.dataset)[kind])]


def parts(folder, kind):
    """A params function: the same files in one text, which has room on a command line."""
    return lambda wildcards: parts_of(folder, wildcards.dataset)[kind]


def cell_controller(wildcards):
    """Any budget and controller can be asked for, listed in the configuration or not."""
    if wildcards.dataset not in STUDY.datasets:
        sys.exit(f"error: dataset '{wildcards.dataset}' is unknown; configured are {', '.join(STUDY.datasets)}.")
    known(Budget.parse, wildcards.budget)
    return known(registered, wildcards.controller)


def controller_module(wildcards):
    return known(registered, wildcards.controller).module


def controller_code(wildcards):
    return code("evaluate.py", cell_controller(wildcards).module, on_device=True)


def controller_files(controller, name, dataset):
    """What a controller is loaded from: tables of the dataset, or over all of them, and its policy."""
    of_tables = None if STUDY.lookup.pooled else dataset
    policy = [f"results/controllers/{name}/policy.{suffix}" for suffix in ("safetensors", "json")]
    tables = [f"results/{table_path(aggregation, of_tables)}" for aggregation in controller.tables]
    return tables + (policy if controller.trained else [])


def governor_files(controller, name, dataset, budget):
    """What a governor starts from and measures requests by, where the budget promises something."""
    if known(Budget.parse, budget).promise is None:
        return []
    rehearsed = [f"results/{response_path(name)}"] if controller.trained else []
    known_latency = [config_latency_path(dataset), table_path(EXPECTED_LATENCY, dataset)]
    return [*(f"results/{path}" for path in known_latency), *rehearsed]


def controller_inputs(wildcards):
    return controller_files(cell_controller(wildcards), wildcards.controller, wildcards.dataset)


def governor_inputs(wildcards):
    return governor_files(cell_controller(wildcards), wildcards.controller, wildcards.dataset, wildcards.budget)


def controller_of_learned(wildcards):
    """What a trained controller is loaded from for any dataset that it learned from."""
    found = known(registered, wildcards.controller)
    return sorted({file for dataset in LEARNED for file in controller_files(found, wildcards.controller, dataset)})


def rehearsal_code(wildcards):
    return known(partial(code, on_device=True), "rehearse.py", controller_module(wildcards))


def training_code(wildcards):
    return code("train_controller.py", controller_module(wildcards), on_device=True)


def controller_parts(wildcards):
    parts = known(registered, wildcards.controller).parts
    return [f"results/controllers/{part}/policy.json" for part in parts]


def in_mixed_order(wildcards):
    """Priority of a cell: cells come last, and in an order that knows nothing of controllers, so that a machine which
    becomes slower while the study runs is slower for all of them."""
    return -1 - zlib.crc32("/".join(wildcards).encode()) % 1000
