import json


rule pareto:
    input:
        summary="results/summary.parquet",
        comparisons="results/comparisons.parquet",
        core_exp=PROFILES,
    output:
        pdf="results/plots/pareto.pdf",
        png=report("results/plots/pareto.png", caption="../workflow/report/pareto.rst", category="Results"),
    log:
        "logs/report/figures/pareto.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: Pareto frontiers"
    shell:
        "{params.run} pareto --summary {input.summary} --comparisons {input.comparisons}"
        " --core-exp {input.core_exp} --output {output.pdf} 2>&1 | tee {log}"


rule gains:
    input:
        summary="results/summary.parquet",
        comparisons="results/comparisons.parquet",
    output:
        pdf="results/plots/gains.pdf",
        png=report("results/plots/gains.png", caption="../workflow/report/gains.rst", category="Results"),
    log:
        "logs/report/figures/gains.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: gains over the baseline"
    shell:
        "{params.run} gains --summary {input.summary} --comparisons {input.comparisons}"
        " --output {output.pdf} 2>&1 | tee {log}"


rule hypervolume:
    input:
        hypervolumes="results/hypervolumes.parquet",
    output:
        pdf="results/plots/hypervolume.pdf",
        png=report("results/plots/hypervolume.png", caption="../workflow/report/hypervolume.rst", category="Results"),
    log:
        "logs/report/figures/hypervolume.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: hypervolumes"
    shell:
        "{params.run} hypervolume --hypervolumes {input.hypervolumes} --output {output.pdf}" " 2>&1 | tee {log}"


rule knob_distribution:
    input:
        summary="results/summary.parquet",
        core_exp=PROFILES,
    output:
        pdf="results/plots/knob_distribution.pdf",
        png=report(
            "results/plots/knob_distribution.png",
            caption="../workflow/report/knob_distribution.rst",
            category="Controllers",
        ),
    log:
        "logs/report/figures/knob_distribution.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: knob distribution"
    shell:
        "{params.run} knob_distribution --summary {input.summary} --core-exp {input.core_exp}"
        " --output {output.pdf} 2>&1 | tee {log}"


rule violations:
    input:
        summary="results/summary.parquet",
    output:
        pdf="results/plots/violations.pdf",
        png=report("results/plots/violations.png", caption="../workflow/report/violations.rst", category="Results"),
    log:
        "logs/report/figures/violations.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: violation rates"
    shell:
        "{params.run} violations --summary {input.summary} --output {output.pdf} 2>&1 | tee {log}"


rule overhead:
    input:
        summary="results/summary.parquet",
    output:
        pdf="results/plots/overhead.pdf",
        png=report("results/plots/overhead.png", caption="../workflow/report/overhead.rst", category="Controllers"),
    log:
        "logs/report/figures/overhead.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: controller overhead"
    shell:
        "{params.run} overhead --summary {input.summary} --output {output.pdf} 2>&1 | tee {log}"


rule training_curves:
    input:
        training=expand("results/controllers/{controller}/training.parquet", controller=LEARNING),
    output:
        pdf="results/plots/training_curves.pdf",
        png=report(
            "results/plots/training_curves.png",
            caption="../workflow/report/training_curves.rst",
            category="Controllers",
        ),
    log:
        "logs/report/figures/training_curves.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: training curves"
    shell:
        "{params.run} training_curves --training {input.training} --output {output.pdf} 2>&1 | tee {log}"


rule stage_times:
    input:
        core_exp=PROFILES,
    output:
        pdf="results/plots/stage_times.pdf",
        png=report("results/plots/stage_times.png", caption="../workflow/report/stage_times.rst", category="Knobs"),
    log:
        "logs/report/figures/stage_times.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: stage times"
    shell:
        "{params.run} stage_times --core-exp {input.core_exp} --output {output.pdf} 2>&1 | tee {log}"


rule repeatability:
    input:
        core_exp=PROFILES,
    output:
        pdf="results/plots/repeatability.pdf",
        png=report("results/plots/repeatability.png", caption="../workflow/report/repeatability.rst", category="Knobs"),
    log:
        "logs/report/figures/repeatability.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: repeatability of latency"
    shell:
        "{params.run} repeatability --core-exp {input.core_exp} --output {output.pdf} 2>&1 | tee {log}"


rule block_importance:
    input:
        scores="results/importance/scores.json",
        core_exp=PROFILES,
    output:
        pdf="results/plots/importance.pdf",
        png=report("results/plots/importance.png", caption="../workflow/report/importance.rst", category="Knobs"),
    log:
        "logs/report/figures/importance.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: importance of the blocks"
    shell:
        "{params.run} importance --scores {input.scores} --core-exp {input.core_exp}"
        " --output {output.pdf} 2>&1 | tee {log}"


rule controllers_page:
    input:
        **COMPARISONS,
        summary="results/summary.parquet",
        trained=expand("results/controllers/{controller}/policy.json", controller=TRAINED),
    output:
        "results/controllers.md",
    log:
        "logs/report/controllers_page.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("controllers_page.py", *(controller.module for controller in CONTROLLERS.values())),
        settings=settings("own_controllers"),
        arguments=" ".join(f"--{name} {path}" for name, path in COMPARISONS.items()),
    message:
        "Page: the controllers side by side"
    shell:
        "{params.run} --summary {input.summary} --trained {input.trained} {params.arguments}"
        " --settings {params.settings:q}"
        " --output {output} 2>&1 | tee {log}"


rule table:
    input:
        summary="results/summary.parquet",
        comparisons="results/comparisons.parquet",
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
    message:
        "Table: {wildcards.table}"
    shell:
        "{params.run} {wildcards.table} --summary {input.summary} --comparisons {input.comparisons}"
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
        "{params.run} --template {input.template} --figures {input.figures} --captions {input.captions}"
        " --summary {input.summary} --comparisons {input.comparisons} --core-exp {input.core_exp}"
        " --manifest {input.manifest} --rule-graph {input.rule_graph} --settings {params.settings:q}"
        " --output {output} 2>&1 | tee {log}"
