rule lookup:
    input:
        code=code("lookup.py"),
        core_exp=PROFILES,
    output:
        expand("results/lookup/{aggregation}.json", aggregation=AGGREGATIONS),
    log:
        "logs/lookup.log",
    conda:
        "../envs/study.yaml"
    message:
        "Lookup tables"
    shell:
        "python {input.code[0]} --core-exp {input.core_exp} --outputs {output} 2>&1 | tee {log}"
