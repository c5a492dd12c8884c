rule lookup:
    input:
        core_exp=PROFILES,
    output:
        expand("results/lookup/{aggregation}.json", aggregation=AGGREGATIONS),
    log:
        "logs/lookup.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("lookup.py"),
    message:
        "Lookup tables"
    shell:
        "python {SCRIPTS}/lookup.py --core-exp {input.core_exp} --outputs {output} 2>&1 | tee {log}"
