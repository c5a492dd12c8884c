rule lookup:
    input:
        core_exp=PROFILES,
    output:
        expand("results/lookup/{aggregation}.json", aggregation=AGGREGATIONS),
    log:
        "logs/controllers/lookup.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("lookup.py"),
    message:
        "Lookup tables"
    shell:
        "{params.run} --core-exp {input.core_exp} --outputs {output} 2>&1 | tee {log}"


rule features:
    input:
        model=MODEL["manifest"],
        samples="results/data/{dataset}/profile.parquet",
    output:
        "results/features/{dataset}.safetensors",
    log:
        "logs/controllers/features/{dataset}.log",
    conda:
        "../envs/study.yaml"
    resources:
        gpu=GPUS,
    params:
        **program("features.py", on_device=True),
        settings=settings(*ENGINE_KEYS, "core_exp.batch_size", "core_exp.max_failed_fraction", "datasets.{dataset}"),
    message:
        "Features of {wildcards.dataset} for the learned controllers"
    shell:
        "{params.run} --dataset {wildcards.dataset} --model results/model --samples {input.samples}"
        " --settings {params.settings:q} --output {output} 2>&1 | tee {log}"


rule train_controller:
    input:
        model=MODEL["manifest"],
        core_exp=PROFILES,
        references=expand("results/core_exp/{dataset}.reference.json", dataset=STUDY.datasets),
        features=expand("results/features/{dataset}.safetensors", dataset=STUDY.datasets),
        samples=f"results/data/{list(STUDY.datasets)[0]}/profile.parquet",
        parts=controller_parts,
    output:
        weights="results/controllers/{controller}/policy.safetensors",
        description="results/controllers/{controller}/policy.json",
        log="results/controllers/{controller}/training.parquet",
    log:
        "logs/controllers/training/{controller}.log",
    wildcard_constraints:
        controller="[^/]+",
    conda:
        "../envs/study.yaml"
    resources:
        gpu=GPUS,
    params:
        run=command("train_controller.py", on_device=True),
        code=training_code,
        settings=settings(
            *ENGINE_KEYS,
            "training",
            "seed",
            "core_exp.max_failed_fraction",
            f"datasets.{list(STUDY.datasets)[0]}",
        ),
    message:
        "Train {wildcards.controller}"
    shell:
        "{params.run} --controller {wildcards.controller} --model results/model"
        " --core-exp {input.core_exp} --references {input.references} --features {input.features} --samples {input.samples}"
        " --settings {params.settings:q} --output results/controllers/{wildcards.controller} 2>&1 | tee {log}"
