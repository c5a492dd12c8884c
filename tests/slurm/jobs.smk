# Jobs that do nothing, under the names of the study's rules, so that the committed profile applies to them.


resource_scopes:
    gpu="local",


rule all:
    input:
        expand("gpu/{job}.txt", job=range(4)),
        "memory.txt",
        "time.txt",
        "never.txt",


# Holds a GPU until a second job does: passes only where two run at once.
rule core_exp:
    output:
        "gpu/{job}.txt",
    resources:
        gpu=1,
    shell:
        "mkdir -p met; echo $CUDA_VISIBLE_DEVICES $(date +%s.%N) > {output}; touch met/{wildcards.job};"
        " while [ $(ls met | wc -l) -lt 2 ]; do sleep 0.1; done; sleep 1; date +%s.%N >> {output}"


rule evaluate:
    output:
        "memory.txt",
    log:
        "logs/memory.log",
    shell:
        "(echo {resources.mem_mb} MB; test {resources.mem_mb} -gt 20000) > {log} && cp {log} {output}"


# A minute, which is the least that Slurm knows, is too little.
rule within_a_minute:
    output:
        "time.txt",
    resources:
        runtime=lambda wildcards, attempt: 1 if attempt == 1 else 60,
    shell:
        "test {resources.runtime} -gt 1 || sleep 900; touch {output}"


rule summarise:
    output:
        "never.txt",
    log:
        "logs/never.log",
    shell:
        "echo 'error: this job always fails' | tee {log}; exit 1"


rule occupy:
    output:
        "occupied/{job}.txt",
    resources:
        gpu=1,
    shell:
        "while [ ! -e enough ]; do sleep 0.1; done; echo {wildcards.job} > {output}"
