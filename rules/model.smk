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
        settings=settings("model"),
    shell:
        "python {input.code[0]} --checkpoint $(dirname {input.config}) --settings {params.settings:q}"
        " --output $(dirname {output.weights}) 2>&1 | tee {log}"
