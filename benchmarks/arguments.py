"""Arguments that several benchmarks take, each with one spelling and one meaning, and the record that all can write."""

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping
from pathlib import Path


def benchmark_parser(description: str) -> ArgumentParser:
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="JSON file for all numbers")
    return parser


def study_parser(description: str) -> ArgumentParser:
    """Of a benchmark that works on what a study made."""
    parser = benchmark_parser(description)
    parser.add_argument("--config", type=Path, nargs="+", default=[Path("config.yaml")], help="later ones override")
    parser.add_argument("--results", type=Path, default=Path("results"), help="directory of the study's results")
    return parser


def write_record(record: Mapping, path: Path | None) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n")
