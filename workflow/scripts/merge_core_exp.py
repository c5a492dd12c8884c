"""Joins the shards of a dataset's profile, and states what budgets in percent refer to."""

import argparse
from pathlib import Path

from adamolmo.config import StudyConfig
from adamolmo.profiling import merge_profiles, reference_latency
from adamolmo.schema import CORE_EXP, REFERENCE, read_table, write_json, write_table
from adamolmo.script import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=Path, nargs="+", required=True)
    parser.add_argument("--settings", type=StudyConfig.from_subset, required=True)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--reference", type=Path, required=True)
    args = parser.parse_args()
    shards = [read_table(path, CORE_EXP) for path in args.shards]
    table, metadata = merge_profiles(shards, args.settings.core_exp.max_failed_fraction)
    write_table(table, args.table, CORE_EXP, metadata)
    write_json(reference_latency(table, metadata, args.settings.knobs.full), args.reference, REFERENCE)


if __name__ == "__main__":
    run(main)
