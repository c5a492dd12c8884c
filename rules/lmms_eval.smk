# Benchmarks by lmms-eval, see docs/lmms-eval.md: `snakemake lmms_eval_data` where there is a network, then
# `snakemake lmms_eval`. Not part of the default targets, and in an environment of its own.


include: "lmms_eval_inputs.smk"


rule lmms_eval:
    input:
        "results/lmms_eval/summary.parquet",


rule lmms_eval_data:
    input:
        expand("{data}/{task}/prepared.json", data=HARNESS.data, task=HARNESS.tasks) if HARNESS.data else [],


# What the Hub has is fetched where Snakemake itself runs: compute nodes may have no network.
if not all(task.startswith(OWN_PREFIX) for task in HARNESS.tasks):

    localrules:
        prepare_lmms_eval,


rule prepare_lmms_eval:
    input:
        samples=task_samples,
    output:
        TASK_DATA or "lmms_eval_data/{task}/prepared.json",
    log:
        "logs/lmms_eval/data/{task}.log",
    wildcard_constraints:
        task="[^/]+",
    conda:
        "../envs/lmms_eval.yaml"
    params:
        **program("prepare_lmms_eval.py"),
        target=lambda wildcards, output: os.path.dirname(output[0]),
        samples=lambda wildcards, input: ["--samples", input.samples] if input.get("samples") else [],
        source=lambda wildcards: ["--source", HARNESS.source] if HARNESS.source else [],
    message:
        "Documents of {wildcards.task}"
    shell:
        "{params.run} {wildcards.task:q} {params.samples:q} {params.source:q} --target {params.target:q}"
        " 2>&1 | tee {log:q}"


rule run_lmms_eval:
    input:
        model=MODEL["manifest"],
        scores="results/importance/scores.json",
        reference=task_reference,
        controller=benchmark_controller,
        governor=benchmark_governor,
        data=TASK_DATA or [],
    output:
        summary="results/lmms_eval/{task}/{controller}/{budget}.json",
        table="results/lmms_eval/{task}/{controller}/{budget}.parquet",
    log:
        "logs/lmms_eval/{task}/{controller}/{budget}.log",
    wildcard_constraints:
        task="[^/]+",
        controller="[^/]+",
        budget="[^/]+",
    conda:
        "../envs/lmms_eval.yaml"
    resources:
        gpu=GPUS,
    params:
        run=command("run_lmms_eval.py", on_device=True),
        code=benchmark_code,
        module=controller_module,
        settings=settings(
            *ENGINE_KEYS, "latency", "lookup", "bootstrap", "seed", "lmms_eval.limit", "lmms_eval.tasks.{task}"
        ),
        data=lambda wildcards: ["--data", HARNESS.data] if HARNESS.data else [],
    message:
        "lmms-eval: {wildcards.controller} on {wildcards.task} at {wildcards.budget}"
    shell:
        "{params.run} --task {wildcards.task:q} --controller {wildcards.controller:q}"
        " --module {params.module:q} --budget {wildcards.budget:q} --model results/model --scores {input.scores:q} --reference {input.reference:q}"
        " {params.data:q} --settings {params.settings:q} --summary {output.summary:q} --table {output.table:q}"
        " 2>&1 | tee {log:q}"


rule summarise_lmms_eval:
    input:
        cells=BENCHMARKS,
    output:
        table="results/lmms_eval/summary.parquet",
        markdown="results/lmms_eval/summary.md",
        comparisons="results/lmms_eval/comparisons.parquet",
        pdf="results/plots/lmms_eval.pdf",
        one_column="results/plots/onecolumn/lmms_eval.pdf",
        png=report("results/plots/lmms_eval.png", caption="../workflow/report/lmms_eval.rst", category="Results"),
    log:
        "logs/lmms_eval/summary.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("summarise_lmms_eval.py"),
        cells=lambda wildcards: BENCHMARKS_IN_ONE,
        settings=settings("lmms_eval"),
        unfamiliar=UNFAMILIAR,
    message:
        "Table and figure of the benchmarks"
    shell:
        "{params.run} --cells {params.cells:q} --settings {params.settings:q} --table {output.table:q}"
        " --markdown {output.markdown:q} --comparisons {output.comparisons:q} --figure {output.pdf:q}"
        " --one-column {output.one_column:q} --unfamiliar {params.unfamiliar:q} 2>&1 | tee {log:q}"
