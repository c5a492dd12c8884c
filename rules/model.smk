rule prepare_model:
    input:
        code=code("prepare_model.py"),
        config=checkpoint("config.json"),
        tokenizer=checkpoint("tokenizer.json"),
        weights=checkpoint("*.safetensors"),
    output:
        **MODEL,
    log:
        "logs/prepare_model.log",
    conda:
        "../envs/study.yaml"
    params:
        checkpoint=CHECKPOINT,
        settings=settings("model.fixed_prefix_layers", "model.dtype"),
    message:
        "Verify and store the model"
    shell:
        "python {input.code[0]} --checkpoint {params.checkpoint} --settings {params.settings:q}"
        " --output results/model 2>&1 | tee {log}"
