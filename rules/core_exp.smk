rule core_exp:
    input:
        **MODEL,
        code=code("core_exp.py"),
        scores="results/importance/scores.json",
        samples="results/data/{dataset}/profile.parquet",
    output:
        "results/core_exp/shards/{dataset}-{shard}.parquet",
    log:
        "logs/core_exp/{dataset}-{shard}.log",
    benchmark:
        "results/benchmarks/core_exp/{dataset}-{shard}.tsv"
    conda:
        "../envs/study.yaml"
    resources:
        gpu=GPUS,
    params:
        settings=settings(*ENGINE_KEYS, "latency", "core_exp", "seed", "datasets.{dataset}"),
    message:
        "Profile every configuration on {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "python {input.code[0]} --dataset {wildcards.dataset} --shard {wildcards.shard} --model results/model"
        " --samples {input.samples} --scores {input.scores} --settings {params.settings:q} --output {output} 2>&1 | tee {log}"


rule merge_core_exp:
    input:
        code=code("merge_core_exp.py"),
        shards=expand("results/core_exp/shards/{{dataset}}-{shard}.parquet", shard=range(STUDY.core_exp.shards)),
    output:
        table="results/core_exp/{dataset}.parquet",
        reference="results/core_exp/{dataset}.reference.json",
    log:
        "logs/core_exp/{dataset}.log",
    conda:
        "../envs/study.yaml"
    params:
        settings=settings("knobs", "core_exp.max_failed_fraction"),
    message:
        "Profile of {wildcards.dataset}"
    shell:
        "python {input.code[0]} --shards {input.shards} --settings {params.settings:q} --table {output.table}"
        " --reference {output.reference} 2>&1 | tee {log}"
