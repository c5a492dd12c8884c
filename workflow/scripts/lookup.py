"""Makes the lookup tables of one dataset, or over several, one file per aggregation."""

import argparse
from pathlib import Path

from adamolmo.controllers.table import LookupTable, aggregate, save_table
from adamolmo.core_exp.reading import read_profiles
from adamolmo.files.columns import KNOBS
from adamolmo.files.lookup import LookupOrigin
from adamolmo.jobs.script import run

COLUMNS = ["dataset", *KNOBS, "accuracy", "latency_ms"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core-exp", type=Path, nargs="+", required=True)
    parser.add_argument("--aggregations", nargs="+", required=True)
    parser.add_argument("--outputs", type=Path, nargs="+", required=True, help="one per aggregation, in their order")
    args = parser.parse_args()
    profile, shared = read_profiles(args.core_exp, COLUMNS)
    for aggregation, output in zip(args.aggregations, args.outputs, strict=True):
        table = LookupTable.from_frame(aggregate(profile, aggregation))
        save_table(table, LookupOrigin(**shared, aggregation=aggregation), output)


if __name__ == "__main__":
    run(main)
