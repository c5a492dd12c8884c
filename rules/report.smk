import json
from functools import reduce

from adamolmo.config.files import merge


include: "report_inputs.smk"


rule figure:
    input:
        unpack(figure_inputs),
    output:
        pdf="results/plots/{figure}.pdf",
        png=report("results/plots/{figure}.png", caption="../workflow/report/caption.rst", category=figure_category),
        one_column="results/plots/onecolumn/{figure}.pdf",
    log:
        "logs/report/figures/{figure}.log",
    wildcard_constraints:
        figure=either(FIGURES),
    conda:
        "../envs/study.yaml"
    params:
        run=command("plot.py"),
        code=figure_code,
        options=options,
        unfamiliar=UNFAMILIAR,
        # Snakemake takes one caption for all files of an output; this one includes the figure's own.
        caption=str(TEMPLATES / "{figure}.rst"),
    message:
        "Figure: {wildcards.figure}"
    shell:
        "{params.run} {wildcards.figure:q} {params.options} --output {output.pdf:q}"
        " --one-column {output.one_column:q} --unfamiliar {params.unfamiliar:q} 2>&1 | tee {log:q}"


rule controllers_page:
    input:
        **inputs("summary", "comparisons", "equal_latency", "promises", "hypervolumes", "regret", "trained"),
        template=str(TEMPLATES / "controllers.md.j2"),
    output:
        "results/controllers.md",
    log:
        "logs/report/controllers_page.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("controllers_page.py", *(controller.module for controller in CONTROLLERS.values())),
        options=options,
        settings=settings("own_controllers"),
    message:
        "Page: the controllers side by side"
    shell:
        "{params.run} {params.options} --settings {params.settings:q} --output {output:q} 2>&1 | tee {log:q}"


rule examples:
    input:
        **inputs("summary", "promises"),  # made from every answer
        samples=expand("results/data/{dataset}/evaluation.parquet", dataset=STUDY.datasets),
        template=str(TEMPLATES / "examples.html.j2"),
    output:
        "results/examples.html",
    log:
        "logs/report/examples.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("examples.py"),
        settings=settings("seed"),
        titles=lambda wildcards: json.dumps(STUDY.titles),
    message:
        "Page: requests to look at"
    shell:
        "{params.run} --summary {input.summary} --promises {input.promises} --template {input.template:q}"
        " --results results --titles {params.titles:q} --settings {params.settings:q} --output {output:q} 2>&1 | tee {log:q}"


rule table:
    input:
        **inputs("summary", "comparisons"),
        template=str(TEMPLATES / "table.tex.j2"),
    output:
        csv="results/tables/{table}.csv",
        latex="results/tables/{table}.tex",
    log:
        "logs/report/tables/{table}.log",
    wildcard_constraints:
        table=either(TABLES),
    conda:
        "../envs/study.yaml"
    params:
        **program("tables.py"),
        options=options,
    message:
        "Table: {wildcards.table}"
    shell:
        "{params.run} {wildcards.table:q} {params.options} --csv {output.csv:q} --latex {output.latex:q} 2>&1 | tee {log:q}"


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
        # Its braces are no wildcards; in its own order, in which datasets are taken one after the other.
        configuration=lambda wildcards: json.dumps(reduce(merge, config_sources().values())),
    message:
        "Graph of the rules"
    shell:
        "printf %s {params.configuration:q} > {output.configuration:q};"
        " snakemake --snakefile {input.snakefile:q} --configfile {output.configuration:q} --forceall --rulegraph dot"
        " > {output.graph:q} 2> {log:q}"


rule report:
    input:
        **inputs("summary", "comparisons", "equal_latency", "promises", "profile", "grid", "timing", "manifest"),
        template=str(TEMPLATES / "report.html.j2"),
        script=str(TEMPLATES / "report.js"),
        captions=[str(TEMPLATES / f"{figure}.rst") for figure in FIGURES],
        figures=expand("results/plots/{figure}.png", figure=FIGURES),
        rule_graph="results/report/rule_graph.dot",
    output:
        "results/report.html",
    log:
        "logs/report/report.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("report.py"),
        options=options,
        unfamiliar=UNFAMILIAR,
        settings=settings(*StudyConfig.model_fields),
        data=lambda wildcards: json.dumps({figure: figure_data(figure) for figure in FIGURES}),
    message:
        "Report: results/report.html"
    shell:
        "{params.run} {params.options} --data {params.data:q} --settings {params.settings:q}"
        " --unfamiliar {params.unfamiliar:q} --output {output:q} 2>&1 | tee {log:q}"


# Apart from the default targets: for research on routing.
rule routing:
    input:
        **inputs("profile", "grid"),
        profiled=expand("results/data/{dataset}/profile.parquet", dataset=STUDY.datasets),
        evaluated=expand("results/data/{dataset}/evaluation.parquet", dataset=STUDY.datasets),
        features=expand("results/features/{dataset}.safetensors", dataset=LEARNED),
    output:
        directory("results/routing"),
    log:
        "logs/report/routing.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("routing.py"),
        options=options,
    message:
        "Data for research on routing: results/routing"
    shell:
        "{params.run} {params.options} --output {output:q} 2>&1 | tee {log:q}"
