"""Arguments that several scripts of the workflow take, each with one spelling, one type and one meaning."""

from argparse import ArgumentParser
from pathlib import Path

from adamolmo.budgets import Budget
from adamolmo.config import StudyConfig

_SHARED = {
    "dataset": {"help": "its name in the configuration"},
    "controller": {"help": "its name in the configuration"},
    "module": {"help": "where the controller comes from: a dotted name, or a Python file"},
    "budget": {"type": Budget.parse, "help": "as in the configuration, such as 60pct, 170ms or 60pct-p95"},
    "shard": {"type": int, "help": "which of core_exp.shards shares of the samples, from 0"},
    "model": {"type": Path, "help": "directory of the prepared model"},
    "samples": {"type": Path, "help": "a split of the dataset"},
    "scores": {"type": Path, "help": "the ranking of the blocks"},
    "reference": {"type": Path, "help": "what a budget in percent refers to"},
    "settings": {"type": StudyConfig.from_subset, "help": "JSON of those parts of the configuration that count here"},
    "summary": {"type": Path, "help": "the JSON document to write"},
    "table": {"type": Path, "help": "the Parquet table to write"},
    "output": {"type": Path, "help": "the file or directory to write"},
}


def job_parser(description: str, *names: str) -> ArgumentParser:
    """A parser of these arguments, all required; a script adds its own."""
    parser = ArgumentParser(description=description)
    for name in names:
        parser.add_argument(f"--{name}", required=True, **_SHARED[name])
    return parser
