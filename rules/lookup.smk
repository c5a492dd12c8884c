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
        **program("lookup.py"),
    message:
        "Lookup tables"
    shell:
        "python {params.script} --core-exp {input.core_exp} --outputs {output} 2>&1 | tee {log}"
