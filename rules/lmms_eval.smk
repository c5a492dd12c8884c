# Benchmarks by lmms-eval, see docs/lmms-eval.md: `snakemake lmms_eval_data` where there is a network, then
# `snakemake lmms_eval`. Not part of the default targets, and in an environment of its own.
from adamolmo.lmms_eval.stock import OWN_PREFIX

HARNESS = STUDY.lmms_eval
BENCHMARKS = expand(
    "results/lmms_eval/{task}/{controller}/{budget}.json",
    task=HARNESS.tasks,
    controller=HARNESS.controllers,
    budget=HARNESS.budgets,
)
try:
    BENCHMARK_CONTROLLERS = {name: find_controller(name) for name in HARNESS.controllers}
except AdaMolmoError as error:
    sys.exit(f"error: lmms_eval.controllers: {error}")


def task_samples(wildcards):
    """The study's own datasets are tasks as well."""
    if not wildcards.task.startswith(OWN_PREFIX):
        return []
    return f"results/data/{profile_of(wildcards)}/evaluation.parquet"


def profile_of(wildcards):
    profile = HARNESS.tasks[wildcards.task].profile
    if profile not in STUDY.datasets:
        sys.exit(
            f"error: lmms_eval.tasks.{wildcards.task}.profile is '{profile}'; expected one of {', '.join(STUDY.datasets)}."
        )
    return profile


def task_reference(wildcards):
    return f"results/core_exp/{profile_of(wildcards)}.reference.json"


def benchmark_code(wildcards):
    modules = [BENCHMARK_CONTROLLERS[wildcards.controller].module]
    modules += ["adamolmo.lmms_eval.tasks.documents"] if wildcards.task.startswith(OWN_PREFIX) else []
    return code("run_lmms_eval.py", *modules)


def benchmark_controller(wildcards):
    controller = BENCHMARK_CONTROLLERS[wildcards.controller]
    if controller.trained and wildcards.controller not in STUDY.controllers:
        sys.exit(
            f"error: lmms_eval.controllers: '{wildcards.controller}' is trained by the study; "
            f"expected it among the configured controllers: {', '.join(STUDY.controllers)}."
        )
    return [f"results/{path}" for path in controller.inputs]


def refuse_benchmark(wildcards):
    """A benchmark that the configuration does not have is one sentence, not a missing rule."""
    known = {"task": HARNESS.tasks, "controller": HARNESS.controllers, "budget": HARNESS.budgets}
    for (kind, names), name in zip(known.items(), wildcards.unknown_benchmark.split("/")):
        refuse_unless_known(kind, names, name)


rule lmms_eval:
    input:
        "results/lmms_eval/summary.parquet",


rule lmms_eval_data:
    input:
        expand("{data}/{task}/prepared.json", data=HARNESS.data, task=HARNESS.tasks) if HARNESS.data else [],


rule prepare_lmms_eval:
    input:
        code=code("prepare_lmms_eval.py"),
        samples=task_samples,
    output:
        f"{HARNESS.data}/{{task}}/prepared.json",
    log:
        "logs/lmms_eval/data/{task}.log",
    wildcard_constraints:
        task=either(HARNESS.tasks),
    conda:
        "../envs/lmms_eval.yaml"
    params:
        target=lambda wildcards, output: os.path.dirname(output[0]),
        samples=lambda wildcards, input: f"--samples {input.samples}" if input.get("samples") else "",
        source=f"--source {HARNESS.source}" if HARNESS.source else "",
    message:
        "Documents of {wildcards.task}"
    shell:
        "python {input.code[0]} {wildcards.task} {params.samples} {params.source} --target {params.target}"
        " 2>&1 | tee {log}"


rule run_lmms_eval:
    input:
        **MODEL,
        code=benchmark_code,
        scores="results/importance/scores.json",
        reference=task_reference,
        controller=benchmark_controller,
        data=f"{HARNESS.data}/{{task}}/prepared.json" if HARNESS.data else [],
    output:
        summary="results/lmms_eval/{task}/{controller}/{budget}.json",
        table="results/lmms_eval/{task}/{controller}/{budget}.parquet",
    log:
        "logs/lmms_eval/{task}/{controller}/{budget}.log",
    wildcard_constraints:
        task=either(HARNESS.tasks),
        controller=either(HARNESS.controllers),
        budget=either(HARNESS.budgets),
    conda:
        "../envs/lmms_eval.yaml"
    resources:
        gpu=GPUS,
    params:
        settings=settings(
            *ENGINE_KEYS, "latency", "lookup", "bootstrap", "seed", "lmms_eval.limit", "lmms_eval.tasks.{task}"
        ),
        data=f"--data {HARNESS.data}" if HARNESS.data else "",
    message:
        "lmms-eval: {wildcards.controller} on {wildcards.task} at {wildcards.budget}"
    shell:
        "python {input.code[0]} --task {wildcards.task} --controller {wildcards.controller}"
        " --budget {wildcards.budget} --model results/model --scores {input.scores} --reference {input.reference}"
        " {params.data} --settings {params.settings:q} --summary {output.summary} --table {output.table}"
        " 2>&1 | tee {log}"


rule summarise_lmms_eval:
    input:
        code=code("summarise_lmms_eval.py"),
        cells=BENCHMARKS,
    output:
        table="results/lmms_eval/summary.parquet",
        markdown="results/lmms_eval/summary.md",
        comparisons="results/lmms_eval/comparisons.parquet",
        pdf="results/plots/lmms_eval.pdf",
        png=report("results/plots/lmms_eval.png", caption="../workflow/report/lmms_eval.rst", category="Results"),
    log:
        "logs/lmms_eval/summary.log",
    conda:
        "../envs/study.yaml"
    params:
        settings=settings("lmms_eval"),
    message:
        "Table and figure of the benchmarks"
    shell:
        "python {input.code[0]} --cells {input.cells} --settings {params.settings:q} --table {output.table}"
        " --markdown {output.markdown} --comparisons {output.comparisons} --figure {output.pdf} 2>&1 | tee {log}"


rule unknown_benchmark:
    input:
        refuse_benchmark,
    output:
        "results/lmms_eval/{unknown_benchmark}.json",
    wildcard_constraints:
        unknown_benchmark=rf"(?!({either(HARNESS.tasks)})/({either(HARNESS.controllers)})/({either(HARNESS.budgets)})\.)"
        r"[^/]+/[^/]+/[^/]+",
