configfile: os.path.join(workflow.basedir, "config.yaml")


include: "rules/common.smk"


rule all:
    input:
        [],
