"""Writes one table of the study, as CSV and as LaTeX."""

import argparse
from pathlib import Path

from adamolmo.files.writing import replacing
from adamolmo.jobs.script import run
from adamolmo.report.inputs import add_inputs, read_inputs
from adamolmo.report.paper_tables import latex
from adamolmo.report.tables import TABLES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=TABLES)
    add_inputs(parser, "summary", "comparisons")
    parser.add_argument("--template", type=Path, required=True)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--latex", type=Path, required=True)
    args = parser.parse_args()
    table = TABLES[args.table](**read_inputs(args))
    with replacing(args.csv) as path:
        table.rows.to_csv(path, index=False, float_format="%.6g")
    with replacing(args.latex) as path:
        path.write_text(latex(args.template, args.table, table))


if __name__ == "__main__":
    run(main)
