rule pareto:
    input:
        summary="results/summary.parquet",
        comparisons="results/comparisons.parquet",
        core_exp=PROFILES,
    output:
        pdf="results/plots/pareto.pdf",
        png=report("results/plots/pareto.png", caption="../workflow/report/pareto.rst", category="Results"),
    log:
        "logs/plots/pareto.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: Pareto frontiers"
    shell:
        "python {params.script} pareto --summary {input.summary} --comparisons {input.comparisons}"
        " --core-exp {input.core_exp} --output {output.pdf} 2>&1 | tee {log}"


rule gains:
    input:
        summary="results/summary.parquet",
        comparisons="results/comparisons.parquet",
    output:
        pdf="results/plots/gains.pdf",
        png=report("results/plots/gains.png", caption="../workflow/report/gains.rst", category="Results"),
    log:
        "logs/plots/gains.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: gains over the baseline"
    shell:
        "python {params.script} gains --summary {input.summary} --comparisons {input.comparisons}"
        " --output {output.pdf} 2>&1 | tee {log}"


rule hypervolume:
    input:
        hypervolumes="results/hypervolumes.parquet",
    output:
        pdf="results/plots/hypervolume.pdf",
        png=report("results/plots/hypervolume.png", caption="../workflow/report/hypervolume.rst", category="Results"),
    log:
        "logs/plots/hypervolume.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: hypervolumes"
    shell:
        "python {params.script} hypervolume --hypervolumes {input.hypervolumes} --output {output.pdf}"
        " 2>&1 | tee {log}"


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
        "logs/plots/knob_distribution.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: knob distribution"
    shell:
        "python {params.script} knob_distribution --summary {input.summary} --core-exp {input.core_exp}"
        " --output {output.pdf} 2>&1 | tee {log}"


rule violations:
    input:
        summary="results/summary.parquet",
    output:
        pdf="results/plots/violations.pdf",
        png=report("results/plots/violations.png", caption="../workflow/report/violations.rst", category="Results"),
    log:
        "logs/plots/violations.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: violation rates"
    shell:
        "python {params.script} violations --summary {input.summary} --output {output.pdf} 2>&1 | tee {log}"


rule overhead:
    input:
        summary="results/summary.parquet",
    output:
        pdf="results/plots/overhead.pdf",
        png=report("results/plots/overhead.png", caption="../workflow/report/overhead.rst", category="Controllers"),
    log:
        "logs/plots/overhead.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: controller overhead"
    shell:
        "python {params.script} overhead --summary {input.summary} --output {output.pdf} 2>&1 | tee {log}"


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
        "logs/plots/training_curves.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: training curves"
    shell:
        "python {params.script} training_curves --training {input.training} --output {output.pdf} 2>&1 | tee {log}"


rule stage_times:
    input:
        core_exp=PROFILES,
    output:
        pdf="results/plots/stage_times.pdf",
        png=report("results/plots/stage_times.png", caption="../workflow/report/stage_times.rst", category="Knobs"),
    log:
        "logs/plots/stage_times.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: stage times"
    shell:
        "python {params.script} stage_times --core-exp {input.core_exp} --output {output.pdf} 2>&1 | tee {log}"


rule repeatability:
    input:
        core_exp=PROFILES,
    output:
        pdf="results/plots/repeatability.pdf",
        png=report("results/plots/repeatability.png", caption="../workflow/report/repeatability.rst", category="Knobs"),
    log:
        "logs/plots/repeatability.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: repeatability of latency"
    shell:
        "python {params.script} repeatability --core-exp {input.core_exp} --output {output.pdf} 2>&1 | tee {log}"


rule block_importance:
    input:
        scores="results/importance/scores.json",
        core_exp=PROFILES,
    output:
        pdf="results/plots/importance.pdf",
        png=report("results/plots/importance.png", caption="../workflow/report/importance.rst", category="Knobs"),
    log:
        "logs/plots/importance.log",
    conda:
        "../envs/study.yaml"
    params:
        **program("plot.py"),
    message:
        "Figure: importance of the blocks"
    shell:
        "python {params.script} importance --scores {input.scores} --core-exp {input.core_exp}"
        " --output {output.pdf} 2>&1 | tee {log}"
