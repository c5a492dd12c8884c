import json


rule table:
    input:
        summary="results/summary.parquet",
        comparisons="results/comparisons.parquet",
    output:
        csv="results/tables/{table}.csv",
        latex="results/tables/{table}.tex",
    log:
        "logs/tables/{table}.log",
    wildcard_constraints:
        table=either(TABLES),
    conda:
        "../envs/study.yaml"
    params:
        **program("tables.py"),
    message:
        "Table: {wildcards.table}"
    shell:
        "python {params.script} {wildcards.table} --summary {input.summary} --comparisons {input.comparisons}"
        " --csv {output.csv} --latex {output.latex} 2>&1 | tee {log}"


# Snakemake prints the graph of this very study: with all that its files and the command line set; nothing is run.
rule rule_graph:
    input:
        snakefile=str(Path(HERE, "Snakefile")),
        rules=sorted(str(path) for path in Path(HERE, "rules").glob("*.smk")),
    output:
        graph="results/report/rule_graph.dot",
        configuration="results/report/configuration.json",
    log:
        "logs/report/rule_graph.log",
    conda:
        "../envs/study.yaml"
    params:
        configuration=json.dumps(config, sort_keys=True),
    message:
        "Graph of the rules"
    shell:
        "printf %s {params.configuration:q} > {output.configuration};"
        " snakemake --snakefile {input.snakefile} --configfile {output.configuration} --forceall --rulegraph dot"
        " > {output.graph} 2> {log}"


rule report:
    input:
        template=str(Path(HERE, "workflow/report/report.html.j2")),
        captions=[str(Path(HERE, f"workflow/report/{plot}.rst")) for plot in PLOTS],
        figures=expand("results/plots/{plot}.png", plot=PLOTS),
        summary="results/summary.parquet",
        comparisons="results/comparisons.parquet",
        core_exp=PROFILES,
        manifest=MODEL["manifest"],
        rule_graph="results/report/rule_graph.dot",
    output:
        "results/report.html",
    log:
        "logs/report/report.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("report.py"),
        settings=settings(*StudyConfig.model_fields),
    message:
        "Report: results/report.html"
    shell:
        "python {params.script} --template {input.template} --figures {input.figures} --captions {input.captions}"
        " --summary {input.summary} --comparisons {input.comparisons} --core-exp {input.core_exp}"
        " --manifest {input.manifest} --rule-graph {input.rule_graph} --settings {params.settings:q}"
        " --output {output} 2>&1 | tee {log}"
