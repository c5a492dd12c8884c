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
        f"{HARNESS.data}/{{task}}/prepared.json",
    log:
        "logs/lmms_eval/data/{task}.log",
    wildcard_constraints:
        task="[^/]+",
    conda:
        "../envs/lmms_eval.yaml"
    params:
        **program("prepare_lmms_eval.py"),
        target=lambda wildcards, output: os.path.dirname(output[0]),
        samples=lambda wildcards, input: f"--samples {input.samples}" if input.get("samples") else "",
        source=f"--source {HARNESS.source}" if HARNESS.source else "",
    message:
        "Documents of {wildcards.task}"
    shell:
        "{params.run} {wildcards.task} {params.samples} {params.source} --target {params.target}" " 2>&1 | tee {log}"


rule run_lmms_eval:
    input:
        model=MODEL["manifest"],
        scores="results/importance/scores.json",
        reference=task_reference,
        controller=benchmark_controller,
        governor=benchmark_governor,
        data=f"{HARNESS.data}/{{task}}/prepared.json" if HARNESS.data else [],
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
        data=f"--data {HARNESS.data}" if HARNESS.data else "",
    message:
        "lmms-eval: {wildcards.controller} on {wildcards.task} at {wildcards.budget}"
    shell:
        "{params.run} --task {wildcards.task} --controller {wildcards.controller}"
        " --module {params.module:q} --budget {wildcards.budget} --model results/model --scores {input.scores} --reference {input.reference}"
        " {params.data} --settings {params.settings:q} --summary {output.summary} --table {output.table}"
        " 2>&1 | tee {log}"


rule summarise_lmms_eval:
    input:
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
        **program("summarise_lmms_eval.py"),
        settings=settings("lmms_eval"),
    message:
        "Table and figure of the benchmarks"
    shell:
        "{params.run} --cells {input.cells} --settings {params.settings:q} --table {output.table}"
        " --markdown {output.markdown} --comparisons {output.comparisons} --figure {output.pdf} 2>&1 | tee {log}"
