rule features:
    input:
        **MODEL,
        code=code("features.py"),
        samples="results/data/{dataset}/profile.parquet",
    output:
        "results/features/{dataset}.safetensors",
    log:
        "logs/features/{dataset}.log",
    conda:
        "../envs/study.yaml"
    resources:
        gpu=GPUS,
    params:
        settings=settings(*ENGINE_KEYS, "core_exp.batch_size", "core_exp.max_failed_fraction", "datasets.{dataset}"),
    message:
        "Features of {wildcards.dataset} for the learned controllers"
    shell:
        "python {input.code[0]} --dataset {wildcards.dataset} --model results/model --samples {input.samples}"
        " --settings {params.settings:q} --output {output} 2>&1 | tee {log}"


rule train_controller:
    input:
        **MODEL,
        code=training_code,
        core_exp=PROFILES,
        references=expand("results/core_exp/{dataset}.reference.json", dataset=STUDY.datasets),
        features=expand("results/features/{dataset}.safetensors", dataset=STUDY.datasets),
    output:
        weights="results/controllers/{controller}/policy.safetensors",
        description="results/controllers/{controller}/policy.json",
        log="results/controllers/{controller}/training.parquet",
    log:
        "logs/train_controller/{controller}.log",
    benchmark:
        "results/benchmarks/train_controller/{controller}.tsv"
    wildcard_constraints:
        controller="[^/]+",
    conda:
        "../envs/study.yaml"
    resources:
        gpu=GPUS,
    params:
        settings=settings(*ENGINE_KEYS, "training", "seed"),
    message:
        "Train {wildcards.controller}"
    shell:
        "python {input.code[0]} --controller {wildcards.controller} --model results/model"
        " --core-exp {input.core_exp} --references {input.references} --features {input.features}"
        " --settings {params.settings:q} --output results/controllers/{wildcards.controller} 2>&1 | tee {log}"
