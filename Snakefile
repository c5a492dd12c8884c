report: "workflow/report/workflow.rst"


# GPUs are counted per machine, so that jobs on a cluster do not wait for each other.
resource_scopes:
    gpu="local",


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/model.smk"
include: "rules/importance.smk"
include: "rules/core_exp.smk"
include: "rules/controllers.smk"
include: "rules/evaluation.smk"
include: "rules/report.smk"
include: "rules/lmms_eval.smk"
include: "rules/embedded.smk"


onstart:
    known(mark_results, RESULTS, RECORDS)


rule all:
    default_target: True
    input:
        "results/summary.parquet",
        "results/controllers.md",
        [f"results/{table_path(aggregation, None)}" for aggregation in AGGREGATIONS],
        expand("results/plots/{figure}.{suffix}", figure=FIGURES, suffix=["pdf", "png"]),
        expand("results/plots/onecolumn/{figure}.pdf", figure=FIGURES),
        expand("results/tables/{table}.{suffix}", table=TABLES, suffix=["csv", "tex"]),
        "results/examples.html",
        "results/report.html",
