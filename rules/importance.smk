rule importance:
    input:
        **MODEL,
        code=code("importance.py"),
        samples="results/data/{dataset}/importance.parquet",
    output:
        "results/importance/{dataset}.json",
    log:
        "logs/importance/{dataset}.log",
    benchmark:
        "results/benchmarks/importance/{dataset}.tsv"
    conda:
        "../envs/study.yaml"
    resources:
        gpu=GPUS,
    params:
        settings=settings(
            *ENGINE_KEYS, "importance", "core_exp.batch_size", "core_exp.max_failed_fraction", "datasets.{dataset}"
        ),
    message:
        "Importance of the blocks on {wildcards.dataset}"
    shell:
        "python {input.code[0]} --dataset {wildcards.dataset} --model results/model --samples {input.samples}"
        " --settings {params.settings:q} --output {output} 2>&1 | tee {log}"


rule merge_importance:
    input:
        code=code("merge_importance.py"),
        manifest=MODEL["manifest"],
        parts=expand("results/importance/{dataset}.json", dataset=STUDY.datasets),
    output:
        "results/importance/scores.json",
    log:
        "logs/importance/merge.log",
    conda:
        "../envs/study.yaml"
    message:
        "Rank the blocks"
    shell:
        "python {input.code[0]} --manifest {input.manifest} --parts {input.parts} --output {output} 2>&1 | tee {log}"
