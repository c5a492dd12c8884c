"""What the rules of lmms_eval.smk read, by task, controller and budget."""

from adamolmo.lmms_eval.stock import OWN_PREFIX

HARNESS = STUDY.lmms_eval
BENCHMARKS_IN_ONE = as_one(
    "results/lmms_eval/{}/{}/{}.json", *map(sorted, (HARNESS.tasks, HARNESS.controllers, HARNESS.budgets))
)
BENCHMARKS = [str(path) for path in all_of(BENCHMARKS_IN_ONE)]
# A folder whose name has braces is no pattern.
TASK_DATA = HARNESS.data and os.path.join(HARNESS.data.replace("{", "{{").replace("}", "}}"), "{task}", "prepared.json")


def profile_of(wildcards):
    """Any controller and budget can be asked for, but a benchmark needs a profile that the configuration names."""
    if wildcards.task not in HARNESS.tasks:
        sys.exit(f"error: task '{wildcards.task}' is not among lmms_eval.tasks: {', '.join(HARNESS.tasks)}.")
    profile = HARNESS.tasks[wildcards.task].profile
    if profile not in STUDY.datasets:
        datasets = ", ".join(STUDY.datasets)
        sys.exit(f"error: lmms_eval.tasks.{wildcards.task}.profile is '{profile}'; expected one of {datasets}.")
    return profile


def task_samples(wildcards):
    """The study's own datasets are tasks as well."""
    profile = profile_of(wildcards)
    if HARNESS.source and not os.path.isdir(HARNESS.source):
        sys.exit(f"error: {fault_of('lmms_eval.source', f'{HARNESS.source} is no directory; expected one, or null.')}")
    return f"results/data/{profile}/evaluation.parquet" if wildcards.task.startswith(OWN_PREFIX) else []


def task_reference(wildcards):
    known(Budget.parse, wildcards.budget)
    return f"results/core_exp/{profile_of(wildcards)}.reference.json"


def benchmark_code(wildcards):
    modules = [controller_module(wildcards)]
    modules += ["adamolmo.lmms_eval.tasks.documents"] if wildcards.task.startswith(OWN_PREFIX) else []
    return code("run_lmms_eval.py", *modules, on_device=True)


def benchmark_controller(wildcards):
    return controller_files(known(registered, wildcards.controller), wildcards.controller, profile_of(wildcards))


def benchmark_governor(wildcards):
    controller = known(registered, wildcards.controller)
    return governor_files(controller, wildcards.controller, profile_of(wildcards), wildcards.budget)
