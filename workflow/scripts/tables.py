"""Writes one table of the study, as CSV and as LaTeX."""

import argparse
from pathlib import Path

from adamolmo.files.comparisons import COMPARISONS
from adamolmo.files.schema import read_table
from adamolmo.files.summary import SUMMARY
from adamolmo.files.writing import replacing
from adamolmo.jobs.script import run
from adamolmo.report.tables import TABLES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--summary", type=Path, required=True)
    parser.add_argument("--comparisons", type=Path, required=True)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--latex", type=Path, required=True)
    args = parser.parse_args()
    table = TABLES[args.table](read_table(args.summary, SUMMARY)[0], read_table(args.comparisons, COMPARISONS)[0])
    with replacing(args.csv) as path:
        table.rows.to_csv(path, index=False, float_format="%.6g")
    with replacing(args.latex) as path:
        path.write_text(table.latex)


if __name__ == "__main__":
    run(main)
