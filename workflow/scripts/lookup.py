"""Makes the lookup tables: per aggregation one file with a table per dataset and one over all datasets ("pooled")."""

import argparse
from pathlib import Path

from adamolmo.controllers.table import LookupTable, aggregate, save_tables
from adamolmo.core_exp.reading import read_profiles
from adamolmo.jobs.script import run

COLUMNS = ["dataset", "tier", "top_k", "num_active_blocks", "accuracy", "latency_ms"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core-exp", type=Path, nargs="+", required=True)
    parser.add_argument("--outputs", type=Path, nargs="+", required=True, help="one per aggregation, named after it")
    args = parser.parse_args()
    profile, metadata = read_profiles(args.core_exp, COLUMNS)
    parts = dict(tuple(profile.groupby("dataset"))) | {"pooled": profile}
    for output in args.outputs:
        tables = {
            name: LookupTable.from_frame(aggregate(part, output.stem), metadata | {"aggregation": output.stem})
            for name, part in parts.items()
        }
        save_tables(tables, output)


if __name__ == "__main__":
    run(main)
