# What the Hub has is fetched where Snakemake itself runs: compute nodes may have no network.
if CHECKPOINT_ON_HUB:

    localrules:
        prepare_model,


rule prepare_model:
    input:
        checkpoint=model_files,
    output:
        **MODEL,
    log:
        "logs/model.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("prepare_model.py", *BACKENDS),
        checkpoint=lambda wildcards: CHECKPOINT,
        content=content(model_files),
        settings=settings("model.fixed_prefix_layers", "model.dtype"),
    message:
        "Verify and store the model"
    shell:
        "{params.run} --checkpoint {params.checkpoint:q} --settings {params.settings:q}"
        " --output results/model 2>&1 | tee {log:q}"
