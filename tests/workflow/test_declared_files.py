"""Every file that one rule writes and another reads is declared in the library, and nothing else is."""

import re

from adamolmo.files.catalogue import FILES

TARGETS = ("all", "selection", "lmms_eval", "results/embedded/checkpoint/model.safetensors")
# What other settings than the miniature study's make: timed latencies, predictors, and what governors start from.
SETTINGS = """
latency: {clock: measured}
lmms_eval: {data: lmms_eval_data}
budgets: [60pct, 60pct-p95]
controllers: [oracle, static-full, lookup-mean, two-stage-budget, predict-question]
"""
# Not read by a rule by name: they stand beside a file that is, or are for people and for the next call of a command.
UNREAD = {
    "results/model/model.safetensors",
    "results/model/config.json",
    "results/model/tokenizer.json",
    "results/model/work.json",
    "results/importance/selection/{dataset}.json",
    "results/lmms_eval/{task}/{controller}/{budget}.parquet",
    "results/lmms_eval/summary.parquet",
    "results/lmms_eval/comparisons.parquet",
    "FILE of adamolmo answer --state",
}


def pattern(path: str) -> str:
    """As a regular expression."""
    literal = re.escape(path).replace(r"\[", "(").replace(r"\]", ")?")
    return re.sub(r"\\{\w+\\}", "[^/]+", literal)


def test_every_file_between_rules_is_declared(clone, config):
    result = clone.snakemake("--dry-run", "--", *TARGETS, configs=(config(SETTINGS),))
    assert result.returncode == 0, result.output
    lists = re.findall(r"^Reason: .*Input files updated by another job: ([^;\n]+)", result.output, re.MULTILINE)
    between = {path for files in lists for path in files.split(", ")}
    assert len(between) > 50
    undeclared = [path for path in sorted(between) if not any(re.fullmatch(pattern(f.path), path) for f in FILES)]
    assert undeclared == []
    unused = {f.path for f in FILES if not any(re.fullmatch(pattern(f.path), path) for path in between)}
    assert unused == UNREAD
