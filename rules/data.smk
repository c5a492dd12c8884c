# It may need the network, so it runs where Snakemake itself does.
localrules:
    prepare_data,


rule prepare_data:
    input:
        script=f"{SCRIPTS}/prepare_data.py",
        files=dataset_files,
    output:
        "results/data/{dataset}/{split}.parquet",
    log:
        "logs/prepare_data/{dataset}/{split}.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("prepare_data.py"),
        settings=settings("seed", "datasets.{dataset}"),
        num_samples=number_of_samples,
    message:
        "Samples of {wildcards.dataset} for {wildcards.split}"
    shell:
        "python {input.script} --dataset {wildcards.dataset} --split {wildcards.split}"
        " --num-samples {params.num_samples} --settings {params.settings:q} --output {output}"
        " 2>&1 | tee {log}"
