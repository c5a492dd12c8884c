rule importance:
    input:
        model=MODEL["manifest"],
        samples="results/data/{dataset}/importance.parquet",
    output:
        "results/importance/{dataset}.json",
    log:
        "logs/importance/{dataset}.log",
    conda:
        "../envs/study.yaml"
    resources:
        gpu=GPUS,
    params:
        **program("importance.py", on_device=True),
        settings=settings(*ENGINE_KEYS, "importance.tier", *BATCH_KEYS, *DATASET_KEYS),
    message:
        "Importance of the blocks on {wildcards.dataset}"
    shell:
        "{params.run} --dataset {wildcards.dataset:q} --model results/model --samples {input.samples:q}"
        " --settings {params.settings:q} --output {output:q} 2>&1 | tee {log:q}"


rule merge_importance:
    input:
        manifest=MODEL["manifest"],
        parts=expand("results/importance/{dataset}.json", dataset=SCORED),
        internal=INTERNAL_SCORES if STUDY.importance.selection in INTERNAL_RULES else [],
        beam="results/importance/beam_search.json" if STUDY.importance.selection == "beam_search" else [],
    output:
        "results/importance/scores.json",
    log:
        "logs/importance/merge.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("merge_importance.py"),
        settings=settings("importance.selection", "seed"),
    message:
        "Rank the blocks"
    shell:
        "{params.run} --manifest {input.manifest:q} --parts {input.parts:q} --internal {input.internal:q}"
        " --beam {input.beam:q} --settings {params.settings:q} --output {output:q} 2>&1 | tee {log:q}"


rule internal_scores:
    input:
        model=MODEL["manifest"],
        samples="results/data/{dataset}/importance.parquet",
    output:
        "results/importance/internal/{dataset}.json",
    log:
        "logs/importance/internal/{dataset}.log",
    conda:
        "../envs/study.yaml"
    resources:
        gpu=GPUS,
    params:
        **program("internal_scores.py", on_device=True),
        settings=settings(*ENGINE_KEYS, "importance.tier", *BATCH_KEYS, *DATASET_KEYS),
    message:
        "Scores of the blocks from inside the model on {wildcards.dataset}"
    shell:
        "{params.run} --dataset {wildcards.dataset:q} --model results/model --samples {input.samples:q}"
        " --settings {params.settings:q} --output {output:q} 2>&1 | tee {log:q}"


rule beam_search:
    input:
        model=MODEL["manifest"],
        samples=expand("results/data/{dataset}/importance.parquet", dataset=SCORED),
    output:
        "results/importance/beam_search.json",
    log:
        "logs/importance/beam_search.log",
    conda:
        "../envs/study.yaml"
    resources:
        gpu=GPUS,
    params:
        **program("beam_search.py", on_device=True),
        settings=settings(*ENGINE_KEYS, "importance.tier", "importance.beam_width", *BATCH_KEYS, *keys_of(SCORED)),
    message:
        "Beam search over sets of blocks"
    shell:
        "{params.run} --model results/model --samples {input.samples:q} --settings {params.settings:q}"
        " --output {output:q} 2>&1 | tee {log:q}"


rule compare_selection:
    input:
        model=MODEL["manifest"],
        scores="results/importance/scores.json",
        internal=INTERNAL_SCORES,
        beam="results/importance/beam_search.json",
        samples="results/data/{dataset}/profile.parquet",
    output:
        "results/importance/selection/{dataset}.json",
    log:
        "logs/importance/selection/{dataset}.log",
    conda:
        "../envs/study.yaml"
    resources:
        gpu=GPUS,
    params:
        **program("compare_selection.py", on_device=True),
        settings=settings(
            *ENGINE_KEYS,
            "importance.tier",
            "samples.importance",
            "datasets.{dataset}.samples",
            *BATCH_KEYS,
            "bootstrap",
            "seed",
            *DATASET_KEYS,
        ),
    message:
        "Accuracy against blocks kept on {wildcards.dataset}, for each rule that ranks them"
    shell:
        "{params.run} --dataset {wildcards.dataset:q} --model results/model --samples {input.samples:q}"
        " --scores {input.scores:q} --internal {input.internal:q} --beam {input.beam:q} --settings {params.settings:q}"
        " --output {output:q} 2>&1 | tee {log:q}"


# Not part of the study's figures: what other rules than the configured one would have kept.
rule selection:
    input:
        expand("results/importance/selection/{dataset}.json", dataset=STUDY.datasets),
