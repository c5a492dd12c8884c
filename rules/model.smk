# What the Hub has is fetched where Snakemake itself runs: compute nodes may have no network.
if CHECKPOINT_ON_HUB:

    localrules:
        prepare_model,


rule prepare_model:
    input:
        checkpoint=checkpoint_files,
    output:
        **MODEL,
    log:
        "logs/prepare_model.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("prepare_model.py"),
        checkpoint=STUDY.model.checkpoint if CHECKPOINT_ON_HUB else CHECKPOINT,
        settings=settings("model.fixed_prefix_layers", "model.dtype"),
    message:
        "Verify and store the model"
    shell:
        "python {params.script} --checkpoint {params.checkpoint:q} --settings {params.settings:q}"
        " --output results/model 2>&1 | tee {log}"


# The embedded model is trained apart from the study, which uses the checkpoint in resources/:
# snakemake --cores 2 results/embedded/checkpoint/model.safetensors
rule train_embedded_part:
    output:
        "results/embedded/{phase}.safetensors",
    log:
        "logs/train_embedded/{phase}.log",
    wildcard_constraints:
        phase="vision|text",
    conda:
        "../envs/study.yaml"
    params:
        **program("train_embedded.py"),
    message:
        "Train the embedded model's {wildcards.phase} part"
    shell:
        "python {params.script} {wildcards.phase} --directory $(dirname {output}) 2>&1 | tee {log}"


rule train_embedded:
    input:
        vision="results/embedded/vision.safetensors",
        text="results/embedded/text.safetensors",
    output:
        "results/embedded/checkpoint/model.safetensors",
        "results/embedded/checkpoint/config.json",
        "results/embedded/checkpoint/tokenizer.json",
    log:
        "logs/train_embedded/joint.log",
    conda:
        "../envs/study.yaml"
    threads: 2
    params:
        **program("train_embedded.py"),
    message:
        "Train the whole embedded model"
    shell:
        "python {params.script} joint --directory $(dirname {input.text}) --workers {threads} 2>&1 | tee {log}"
