# The ranking of the blocks stands for the model, too: it is made anew with every model. An input less counts where there
# are thousands of jobs to plan.
rule core_exp:
    input:
        scores="results/importance/scores.json",
        samples="results/data/{dataset}/profile.parquet",
    output:
        "results/core_exp/accuracy/{dataset}-{tier}-{shard}.parquet",
    log:
        "logs/core_exp/accuracy/{dataset}-{tier}-{shard}.log",
    conda:
        "../envs/study.yaml"
    resources:
        gpu=GPUS,
    params:
        **program("core_exp.py", on_device=True),
        settings=settings(*ENGINE_KEYS, "core_exp", "seed", *DATASET_KEYS),
    message:
        "Answers of every configuration on {wildcards.dataset}, tier {wildcards.tier}, shard {wildcards.shard}"
    shell:
        "{params.run} --dataset {wildcards.dataset:q} --tier {wildcards.tier:q} --shard {wildcards.shard:q}"
        " --model results/model --samples {input.samples:q} --scores {input.scores:q} --settings {params.settings:q}"
        " --output {output:q} 2>&1 | tee {log:q}"


rule core_exp_latency:
    input:
        scores="results/importance/scores.json",
        samples="results/data/{dataset}/profile.parquet",
    output:
        "results/core_exp/latency/{dataset}-{shard}.parquet",
    log:
        "logs/core_exp/latency/{dataset}-{shard}.log",
    conda:
        "../envs/study.yaml"
    resources:
        gpu=GPUS,
    params:
        **program("core_exp_latency.py", on_device=True),
        settings=settings(
            *ENGINE_KEYS,
            "latency.samples",
            "latency.repeats",
            "latency.max_warmup",
            "core_exp.shards",
            "seed",
            *DATASET_KEYS,
        ),
    message:
        "Latency of every configuration on {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "{params.run} --dataset {wildcards.dataset:q} --shard {wildcards.shard:q} --model results/model"
        " --samples {input.samples:q} --scores {input.scores:q} --settings {params.settings:q} --output {output:q}"
        " 2>&1 | tee {log:q}"


rule merge_core_exp:
    input:
        accuracy=part_files("results/core_exp", "accuracy"),
        latency=part_files("results/core_exp", "latency"),
    output:
        table="results/core_exp/{dataset}.parquet",
        reference="results/core_exp/{dataset}.reference.json",
    log:
        "logs/core_exp/{dataset}.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("merge_core_exp.py"),
        accuracy=parts("results/core_exp", "accuracy"),
        latency=parts("results/core_exp", "latency"),
        settings=settings(
            "model.fixed_prefix_layers", "knobs", "core_exp.max_failed_fraction", "latency.drift_limit_pct"
        ),
    message:
        "Profile of {wildcards.dataset}"
    shell:
        "{params.run} --accuracy {params.accuracy:q} --latency {params.latency:q} --settings {params.settings:q}"
        " --table {output.table:q} --reference {output.reference:q} 2>&1 | tee {log:q}"
