rule evaluate:
    input:
        model=MODEL["manifest"],
        scores="results/importance/scores.json",
        samples="results/data/{dataset}/evaluation.parquet",
        reference="results/core_exp/{dataset}.reference.json",
        controller=controller_inputs,
        governor=governor_inputs,
    output:
        summary="results/eval/{dataset}/{controller}/{budget}.json",
        samples="results/eval/{dataset}/{controller}/{budget}.parquet",
    log:
        "logs/evaluation/{dataset}/{controller}/{budget}.log",
    wildcard_constraints:
        dataset="[^/]+",
        controller=rf"(?!{ORACLE}/)[^/]+",
        budget="[^/]+",
    priority: in_mixed_order
    conda:
        "../envs/study.yaml"
    resources:
        gpu=GPUS,
    params:
        run=command("evaluate.py", on_device=True),
        code=controller_code,
        module=controller_module,
        settings=settings(
            *ENGINE_KEYS,
            "latency.max_warmup",
            "lookup",
            "core_exp.max_failed_fraction",
            "bootstrap",
            "seed",
            *DATASET_KEYS,
        ),
    message:
        "Evaluate {wildcards.controller} on {wildcards.dataset} at {wildcards.budget}"
    shell:
        "{params.run} --dataset {wildcards.dataset:q} --controller {wildcards.controller:q}"
        " --module {params.module:q} --budget {wildcards.budget:q} --model results/model --samples {input.samples:q} --scores {input.scores:q}"
        " --reference {input.reference:q} --settings {params.settings:q}"
        " --summary {output.summary:q} --table {output.samples:q} 2>&1 | tee {log:q}"


rule summarise:
    input:
        cells=CELLS,
    output:
        "results/summary.parquet",
    log:
        "logs/evaluation/summarise.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("summarise.py"),
        cells=lambda wildcards: CELLS_IN_ONE,
    message:
        "Summary of all cells"
    shell:
        "{params.run} --cells {params.cells:q} --output {output:q} 2>&1 | tee {log:q}"


# The answers of every configuration to the questions that controllers are judged on: what static configurations reach
# there, their mixtures, and the best choice in hindsight.
use rule core_exp as core_exp_evaluation with:
    input:
        scores="results/importance/scores.json",
        samples="results/data/{dataset}/evaluation.parquet",
    output:
        "results/core_exp_evaluation/accuracy/{dataset}-{tier}-{shard}.parquet",
    log:
        "logs/evaluation/core_exp/accuracy/{dataset}-{tier}-{shard}.log",
    message:
        "Answers of every configuration on the evaluation split of {wildcards.dataset}, tier {wildcards.tier},"
        " shard {wildcards.shard}"


rule evaluation_grid:
    input:
        accuracy=part_files("results/core_exp_evaluation", "accuracy"),
        core_exp="results/core_exp/{dataset}.parquet",
    output:
        "results/core_exp_evaluation/{dataset}.parquet",
    log:
        "logs/evaluation/core_exp/{dataset}.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("evaluation_grid.py"),
        accuracy=parts("results/core_exp_evaluation", "accuracy"),
        settings=settings("model.fixed_prefix_layers", "knobs", "max_new_tokens", "core_exp.max_failed_fraction"),
    message:
        "Every configuration on the evaluation split of {wildcards.dataset}"
    shell:
        "{params.run} --accuracy {params.accuracy:q} --core-exp {input.core_exp:q} --settings {params.settings:q}"
        " --output {output:q} 2>&1 | tee {log:q}"


rule oracle:
    input:
        core_exp="results/core_exp_evaluation/{dataset}.parquet",
        reference="results/core_exp/{dataset}.reference.json",
    output:
        summary="results/eval/{dataset}/oracle/{budget}.json",
        samples="results/eval/{dataset}/oracle/{budget}.parquet",
    log:
        "logs/evaluation/{dataset}/oracle/{budget}.log",
    wildcard_constraints:
        budget="[^/]+",
    conda:
        "../envs/study.yaml"
    params:
        **program("oracle.py"),
        settings=settings("knobs", "bootstrap", "seed"),
    message:
        "Oracle of {wildcards.dataset} at {wildcards.budget}"
    shell:
        "{params.run} --dataset {wildcards.dataset:q} --budget {wildcards.budget:q} --core-exp {input.core_exp:q}"
        " --reference {input.reference:q} --settings {params.settings:q} --summary {output.summary:q}"
        " --table {output.samples:q} 2>&1 | tee {log:q}"


rule compare:
    input:
        summary="results/summary.parquet",
        answers=[cell.replace(".json", ".parquet") for cell in CELLS],
        profiles=PROFILES,
        grids=EVALUATION_GRIDS,
        trained=expand("results/controllers/{controller}/policy.json", controller=TRAINED),
    output:
        **COMPARISONS,
    log:
        "logs/evaluation/compare.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("compare.py"),
        settings=settings("knobs", "bootstrap", "seed"),
        arguments=" ".join(f"--{name.replace('_', '-')} {path}" for name, path in COMPARISONS.items()),
    message:
        "Compare every two controllers on the same questions"
    shell:
        "{params.run} --summary {input.summary:q} --answers results/eval --profiles {input.profiles:q}"
        " --grids {input.grids:q} --trained {input.trained:q} --settings {params.settings:q} {params.arguments}"
        " 2>&1 | tee {log:q}"
