rule lookup:
    input:
        script=f"{SCRIPTS}/lookup.py",
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
        "python {input.script} --core-exp {input.core_exp} --outputs {output} 2>&1 | tee {log}"
