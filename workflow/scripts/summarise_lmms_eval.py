"""The benchmarks' cells in one table, the controllers compared, and the figure."""

import argparse
from pathlib import Path

from adamolmo.config import StudyConfig
from adamolmo.files import replacing
from adamolmo.lmms_eval.figure import benchmarks
from adamolmo.lmms_eval.schema import BENCHMARK_COMPARISONS, BENCHMARKS
from adamolmo.lmms_eval.summary import as_markdown, collect, compare
from adamolmo.schema import write_table
from adamolmo.script import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=Path, nargs="+", required=True)
    parser.add_argument("--settings", type=StudyConfig.from_subset, required=True)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--markdown", type=Path, required=True)
    parser.add_argument("--comparisons", type=Path, required=True)
    parser.add_argument("--figure", type=Path, required=True, help="the PDF; the PNG lies beside it")
    args = parser.parse_args()
    settings = args.settings.lmms_eval
    table = collect(args.cells)
    write_table(table, args.table, BENCHMARKS)
    write_table(compare(args.cells), args.comparisons, BENCHMARK_COMPARISONS)
    with replacing(args.markdown) as temporary:
        temporary.write_text(as_markdown(table, settings.budgets))
    metrics = {task: entry.metric for task, entry in settings.tasks.items()}
    benchmarks(table, metrics, args.figure.with_suffix(""))


if __name__ == "__main__":
    run(main)
