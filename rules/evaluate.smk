rule evaluate:
    input:
        **MODEL,
        code=controller_code,
        scores="results/importance/scores.json",
        samples="results/data/{dataset}/evaluation.parquet",
        reference="results/core_exp/{dataset}.reference.json",
        controller=controller_inputs,
    output:
        summary="results/eval/{dataset}/{controller}/{budget}.json",
        samples="results/eval/{dataset}/{controller}/{budget}.parquet",
    log:
        "logs/evaluate/{dataset}/{controller}/{budget}.log",
    wildcard_constraints:
        dataset="[^/]+",
        controller="[^/]+",
        budget="[^/]+",
    conda:
        "../envs/study.yaml"
    resources:
        gpu=GPUS,
    params:
        settings=settings(
            *ENGINE_KEYS,
            "latency",
            "lookup",
            "core_exp.max_failed_fraction",
            "bootstrap",
            "seed",
            "datasets.{dataset}",
        ),
    message:
        "Evaluate {wildcards.controller} on {wildcards.dataset} at {wildcards.budget}"
    shell:
        "python {input.code[0]} --dataset {wildcards.dataset} --controller {wildcards.controller}"
        " --budget {wildcards.budget} --model results/model --samples {input.samples} --scores {input.scores}"
        " --reference {input.reference} --settings {params.settings:q}"
        " --summary {output.summary} --table {output.samples} 2>&1 | tee {log}"


rule summarise:
    input:
        code=code("summarise.py"),
        cells=expand(
            "results/eval/{dataset}/{controller}/{budget}.json",
            dataset=STUDY.datasets,
            controller=STUDY.controllers,
            budget=STUDY.budgets,
        ),
    output:
        "results/summary.parquet",
    log:
        "logs/summarise.log",
    conda:
        "../envs/study.yaml"
    message:
        "Summary of all cells"
    shell:
        "python {input.code[0]} --cells {input.cells} --output {output} 2>&1 | tee {log}"
