include: "data_inputs.smk"


# What the Hub has is fetched where Snakemake itself runs: compute nodes may have no network.
if any(dataset.source == "hub" for dataset in STUDY.datasets.values()):

    localrules:
        prepare_data,


rule prepare_data:
    input:
        dataset_files,
    output:
        "results/data/{dataset}/{split}.parquet",
    log:
        "logs/data/{dataset}/{split}.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("prepare_data.py"),
        settings=settings("seed", "samples.max_megapixels", *(f"datasets.{{dataset}}.{key}" for key in SOURCE_KEYS)),
        content=dataset_content,
        num_samples=samples_wanted,
    message:
        "Samples of {wildcards.dataset} for {wildcards.split}"
    shell:
        "{params.run} --dataset {wildcards.dataset:q} --split {wildcards.split:q}"
        " --num-samples {params.num_samples:q} --settings {params.settings:q} --output {output:q}"
        " 2>&1 | tee {log:q}"
