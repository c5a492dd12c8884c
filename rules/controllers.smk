rule lookup:
    input:
        core_exp=PROFILES,
    output:
        tables=expand("results/lookup/{aggregation}.json", aggregation=AGGREGATIONS),
        latency=EXPECTED_LATENCY,
    log:
        "logs/controllers/lookup.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("lookup.py"),
        settings=settings("model.fixed_prefix_layers", "knobs", "max_new_tokens"),
    message:
        "Lookup tables and expected latencies"
    shell:
        "python {params.script} --core-exp {input.core_exp} --settings {params.settings:q} --tables {output.tables}"
        " --latency {output.latency} 2>&1 | tee {log}"


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
        **program("features.py"),
        settings=settings(*ENGINE_KEYS, "core_exp.batch_size", "core_exp.max_failed_fraction", "datasets.{dataset}"),
    message:
        "Features of {wildcards.dataset} for the learned controllers"
    shell:
        "python {params.script} --dataset {wildcards.dataset} --model results/model --samples {input.samples}"
        " --settings {params.settings:q} --output {output} 2>&1 | tee {log}"


rule train_controller:
    input:
        model=MODEL["manifest"],
        core_exp=PROFILES,
        references=expand("results/core_exp/{dataset}.reference.json", dataset=STUDY.datasets),
        latency=EXPECTED_LATENCY,
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
        controller=either(POLICIES),
    conda:
        "../envs/study.yaml"
    resources:
        gpu=GPUS,
    params:
        script=f"{SCRIPTS}/train_controller.py",
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
        "python {params.script} --controller {wildcards.controller} --model results/model"
        " --core-exp {input.core_exp} --references {input.references} --latency {input.latency}"
        " --features {input.features} --samples {input.samples} --settings {params.settings:q}"
        " --output results/controllers/{wildcards.controller} 2>&1 | tee {log}"


# Predictors are trained alike, and also say how far their probabilities come true.
use rule train_controller as train_predictor with:
    output:
        weights="results/controllers/{controller}/policy.safetensors",
        description="results/controllers/{controller}/policy.json",
        log="results/controllers/{controller}/training.parquet",
        reliability="results/controllers/{controller}/reliability.parquet",
    wildcard_constraints:
        controller=either(PREDICTORS),
    message:
        "Fit {wildcards.controller}"
