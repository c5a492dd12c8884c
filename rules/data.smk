def dataset_files(wildcards):
    """Tables on this machine that a dataset is read from: a change of them makes the samples anew."""
    return list(map(str, INPUT_FILES.get(f"datasets.{wildcards.dataset}.path", [])))


@cache
def checked_dataset(dataset):
    wanted = {split: STUDY.number_of_samples(dataset, split) for split in SPLITS}
    return known(check_dataset, STUDY.datasets[dataset], dataset, wanted)


def dataset_content(wildcards):
    """Not of `input`: Snakemake does not compare parameters that are made from it."""
    return checked_dataset(wildcards.dataset)


def earlier_splits(wildcards):
    """Splits that are drawn first and whose pictures this one leaves out; procedural ones never share any."""
    if STUDY.datasets[wildcards.dataset].source == "procedural":
        return []
    return expand("results/data/{{dataset}}/{split}.parquet", split=SPLITS[: SPLITS.index(wildcards.split)])


# What the Hub has is fetched where Snakemake itself runs: compute nodes may have no network.
if any(dataset.source == "hub" for dataset in STUDY.datasets.values()):

    localrules:
        prepare_data,


rule prepare_data:
    input:
        files=dataset_files,
        earlier=earlier_splits,
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
        num_samples=number_of_samples,
    message:
        "Samples of {wildcards.dataset} for {wildcards.split}"
    shell:
        "{params.run} --dataset {wildcards.dataset:q} --split {wildcards.split:q}"
        " --num-samples {params.num_samples:q} --settings {params.settings:q} --output {output:q}"
        " --earlier {input.earlier:q} 2>&1 | tee {log:q}"
