import json
import shlex

# What figures, tables and pages are made from, by the names of adamolmo.report.inputs.
INPUTS = {
    **COMPARISONS,
    "summary": "results/summary.parquet",
    "scores": "results/importance/scores.json",
    "manifest": MODEL["manifest"],
    "profile": PROFILES,
    "timing": PROFILES,
    "training": expand("results/controllers/{controller}/training.parquet", controller=LEARNING),
    "trained": expand("results/controllers/{controller}/policy.json", controller=TRAINED),
}

# By figure, in the order of the page: its category in Snakemake's own report, and what it reads. The figure's name is
# also that of its module in adamolmo.report.figures and of its caption in workflow/report.
FIGURES = {
    "pareto": ("Results", ["summary", "profile", "comparisons"]),
    "gains": ("Results", ["summary", "comparisons"]),
    "hypervolume": ("Results", ["hypervolumes"]),
    "violations": ("Results", ["summary"]),
    "knob_distribution": ("Controllers", ["summary", "profile"]),
    "overhead": ("Controllers", ["summary"]),
    "stage_times": ("Knobs", ["profile"]),
    "repeatability": ("Knobs", ["profile", "timing"]),
    "importance": ("Knobs", ["scores", "profile"]),
    "training_curves": ("Controllers", ["training"]),
}
# A study has the figures for which it has something to read.
FIGURES = {name: (category, names) for name, (category, names) in FIGURES.items() if all(map(INPUTS.get, names))}

TABLES = ["accuracy", "violations", "gains"]
# Design 1 against design 2, where the study has both.
if all(any(name.startswith(design) for name in TRAINED) for design in ("two-stage-", "single-stage-")):
    TABLES += ["designs"]

TEMPLATES = Path(HERE, "workflow/report")


def inputs(*names):
    """Those of these inputs that the study has."""
    return {name: INPUTS[name] for name in names if INPUTS.get(name)}


def options(wildcards, input):
    """Every input of a rule as an option of its script, under its own name."""
    paths = {name: [files] if isinstance(files, str) else files for name, files in input.items()}
    return " ".join(shlex.join([f"--{name.replace('_', '-')}", *files]) for name, files in paths.items())


def figure_inputs(wildcards):
    return inputs(*FIGURES[wildcards.figure][1])


def figure_category(wildcards):
    return FIGURES[wildcards.figure][0]


def figure_code(wildcards):
    return code("plot.py", f"adamolmo.report.figures.{wildcards.figure}")


rule figure:
    input:
        unpack(figure_inputs),
    output:
        pdf="results/plots/{figure}.pdf",
        png=report("results/plots/{figure}.png", caption="../workflow/report/caption.rst", category=figure_category),
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
        # Snakemake takes one caption for all files of an output; this one includes the figure's own.
        caption=str(TEMPLATES / "{figure}.rst"),
    message:
        "Figure: {wildcards.figure}"
    shell:
        "{params.run} {wildcards.figure} {params.options} --output {output.pdf} 2>&1 | tee {log}"


rule controllers_page:
    input:
        **inputs("summary", "comparisons", "hypervolumes", "regret", "trained"),
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
        "{params.run} {params.options} --settings {params.settings:q} --output {output} 2>&1 | tee {log}"


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
        "{params.run} {wildcards.table} {params.options} --csv {output.csv} --latex {output.latex}"
        " 2>&1 | tee {log}"


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
        **inputs("summary", "comparisons", "profile", "timing", "manifest"),
        template=str(TEMPLATES / "report.html.j2"),
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
        settings=settings(*StudyConfig.model_fields),
    message:
        "Report: results/report.html"
    shell:
        "{params.run} {params.options} --settings {params.settings:q} --output {output} 2>&1 | tee {log}"
