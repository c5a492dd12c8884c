rule lookup:
    input:
        core_exp="results/core_exp/{dataset}.parquet",
    output:
        [f"results/{table_path(aggregation, '{dataset}')}" for aggregation in AGGREGATIONS],
    log:
        "logs/controllers/lookup/{dataset}.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("lookup.py"),
        aggregations=AGGREGATIONS,
    message:
        "Lookup tables of {wildcards.dataset}"
    shell:
        "{params.run} --core-exp {input.core_exp:q} --aggregations {params.aggregations:q} --outputs {output:q}"
        " 2>&1 | tee {log:q}"


use rule lookup as lookup_over_all with:
    input:
        core_exp=PROFILES,
    output:
        [f"results/{table_path(aggregation, None)}" for aggregation in AGGREGATIONS],
    log:
        "logs/controllers/lookup.log",
    message:
        "Lookup tables over all datasets"


# From a request's crops and prompt tokens; it lies beside the tables.
rule expected_latency:
    input:
        core_exp="results/core_exp/{dataset}.parquet",
    output:
        f"results/{table_path(EXPECTED_LATENCY, '{dataset}')}",
    log:
        "logs/controllers/expected_latency/{dataset}.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("expected_latency.py"),
        settings=settings("model.fixed_prefix_layers", "knobs", "max_new_tokens"),
    message:
        "What requests on {wildcards.dataset} can be expected to take"
    shell:
        "{params.run} --core-exp {input.core_exp:q} --settings {params.settings:q} --output {output:q} 2>&1 | tee {log:q}"


use rule expected_latency as expected_latency_over_all with:
    input:
        core_exp=PROFILES,
    output:
        f"results/{table_path(EXPECTED_LATENCY, None)}",
    log:
        "logs/controllers/expected_latency.log",
    message:
        "What requests on any dataset can be expected to take"


# What governors of promised budgets start from, see docs/budgets.md.
rule config_latency:
    input:
        core_exp="results/core_exp/{dataset}.parquet",
        expected=f"results/{table_path(EXPECTED_LATENCY, '{dataset}')}",
    output:
        f"results/{config_latency_path('{dataset}')}",
    log:
        "logs/controllers/latency/{dataset}.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("config_latency.py"),
    message:
        "What every configuration took on {wildcards.dataset}"
    shell:
        "{params.run} --core-exp {input.core_exp:q} --expected {input.expected:q} --output {output:q}"
        " 2>&1 | tee {log:q}"


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
        settings=settings(*ENGINE_KEYS, "core_exp.batch_size", "core_exp.max_failed_fraction", *DATASET_KEYS),
    message:
        "Features of {wildcards.dataset} for the learned controllers"
    shell:
        "{params.run} --dataset {wildcards.dataset:q} --model results/model --samples {input.samples:q}"
        " --settings {params.settings:q} --output {output:q} 2>&1 | tee {log:q}"


rule train_controller:
    input:
        model=MODEL["manifest"],
        core_exp=expand("results/core_exp/{dataset}.parquet", dataset=LEARNED),
        references=expand("results/core_exp/{dataset}.reference.json", dataset=LEARNED),
        latency=EXPECTED_LATENCIES,
        features=expand("results/features/{dataset}.safetensors", dataset=LEARNED),
        samples=f"results/data/{LEARNED[0]}/profile.parquet",
        parts=controller_parts,
        encoder=encoder_files,
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
        module=controller_module,
        encoder=content(encoder_files),
        settings=settings(
            *ENGINE_KEYS,
            "training",
            "seed",
            "core_exp.max_failed_fraction",
            *keys_of(LEARNED[:1]),
        ),
    message:
        "Train {wildcards.controller}"
    shell:
        "{params.run} --controller {wildcards.controller:q} --module {params.module:q} --model results/model"
        " --core-exp {input.core_exp:q} --references {input.references:q} --latency {input.latency:q}"
        " --features {input.features:q} --samples {input.samples:q}"
        " --settings {params.settings:q} --output results/controllers/{wildcards.controller:q} 2>&1 | tee {log:q}"


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


ruleorder: train_predictor > train_controller


rule rehearse:
    input:
        model=MODEL["manifest"],
        controller=controller_of_learned,
        core_exp=expand("results/core_exp/{dataset}.parquet", dataset=LEARNED),
        latency=EXPECTED_LATENCIES,
        features=expand("results/features/{dataset}.safetensors", dataset=LEARNED),
    output:
        f"results/{response_path('{controller}')}",
    log:
        "logs/controllers/rehearsal/{controller}.log",
    wildcard_constraints:
        controller="[^/]+",
    conda:
        "../envs/study.yaml"
    resources:
        gpu=GPUS,
    params:
        run=command("rehearse.py", on_device=True),
        code=rehearsal_code,
        module=controller_module,
        settings=settings(*ENGINE_KEYS, "training", "lookup", "seed"),
    message:
        "What {wildcards.controller} spends under every limit, on held-out questions"
    shell:
        "{params.run} --controller {wildcards.controller:q} --module {params.module:q} --model results/model"
        " --core-exp {input.core_exp:q} --latency {input.latency:q} --features {input.features:q}"
        " --settings {params.settings:q} --output {output:q} 2>&1 | tee {log:q}"
