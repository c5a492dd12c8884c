# The embedded model is trained apart from the study, which uses the checkpoint in resources/:
# snakemake --cores 2 results/embedded/checkpoint/model.safetensors
# A phase that was killed goes on from results/embedded/{phase}.checkpoint.safetensors, with the same result.
rule train_embedded_part:
    output:
        "results/embedded/{phase}.safetensors",
    log:
        "logs/embedded/{phase}.log",
    wildcard_constraints:
        phase="vision|text",
    conda:
        "../envs/study.yaml"
    params:
        **program("train_embedded.py"),
    message:
        "Train the embedded model's {wildcards.phase} part"
    shell:
        "{params.run} {wildcards.phase:q} --directory $(dirname {output:q}) 2>&1 | tee {log:q}"


rule train_embedded:
    input:
        vision="results/embedded/vision.safetensors",
        text="results/embedded/text.safetensors",
    output:
        "results/embedded/checkpoint/model.safetensors",
        "results/embedded/checkpoint/config.json",
        "results/embedded/checkpoint/tokenizer.json",
        "results/embedded/checkpoint/training.jsonl",
        "results/embedded/checkpoint/training.png",
    log:
        "logs/embedded/joint.log",
    conda:
        "../envs/study.yaml"
    threads: 2
    params:
        **program("train_embedded.py"),
    message:
        "Train the whole embedded model"
    shell:
        "{params.run} joint --directory $(dirname {input.text:q}) --cores {threads} 2>&1 | tee {log:q}"
