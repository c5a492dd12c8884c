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


rule compare:
    input:
        code=code("compare.py"),
        summary="results/summary.parquet",
        answers=expand(
            "results/eval/{dataset}/{controller}/{budget}.parquet",
            dataset=STUDY.datasets,
            controller=STUDY.controllers,
            budget=STUDY.budgets,
        ),
    output:
        comparisons="results/comparisons.parquet",
        hypervolumes="results/hypervolumes.parquet",
    log:
        "logs/compare.log",
    conda:
        "../envs/study.yaml"
    params:
        settings=settings("bootstrap", "seed"),
    message:
        "Compare every two controllers on the same questions"
    shell:
        "python {input.code[0]} --summary {input.summary} --answers results/eval --settings {params.settings:q}"
        " --comparisons {output.comparisons} --hypervolumes {output.hypervolumes} 2>&1 | tee {log}"


rule unknown_cell:
    input:
        refuse_cell,
    output:
        "results/eval/{unknown_cell}.json",
