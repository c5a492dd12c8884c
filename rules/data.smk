# What the Hub has is fetched where Snakemake itself runs: compute nodes may have no network.
if any(dataset.source == "hub" for dataset in STUDY.datasets.values()):

    localrules:
        prepare_data,


rule prepare_data:
    input:
        files=dataset_files,
    output:
        "results/data/{dataset}/{split}.parquet",
    log:
        "logs/data/{dataset}/{split}.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("prepare_data.py"),
        settings=settings("seed", *(f"datasets.{{dataset}}.{key}" for key in SOURCE_KEYS)),
        num_samples=number_of_samples,
    message:
        "Samples of {wildcards.dataset} for {wildcards.split}"
    shell:
        "{params.run} --dataset {wildcards.dataset} --split {wildcards.split}"
        " --num-samples {params.num_samples} --settings {params.settings:q} --output {output}"
        " 2>&1 | tee {log}"
