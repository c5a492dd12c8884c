"""What datasets are read from, and how many samples each split has."""


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


def samples_wanted(wildcards):
    """Of this split and those drawn before it, whose pictures it leaves out; procedural ones never share any."""
    drawn = SPLITS[: SPLITS.index(wildcards.split) + 1]
    if STUDY.datasets[wildcards.dataset].source == "procedural":
        drawn = [wildcards.split]
    return json.dumps({split: STUDY.number_of_samples(wildcards.dataset, split) for split in drawn})
