"""The benchmarks' cells in one table, the controllers compared, and the figure."""

from pathlib import Path

from adamolmo.files.lmms_eval import BENCHMARK_COMPARISONS, BENCHMARKS
from adamolmo.files.many import all_of
from adamolmo.files.schema import write_table
from adamolmo.files.writing import replacing
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.script import run
from adamolmo.lmms_eval.figure import benchmarks
from adamolmo.lmms_eval.summary import as_markdown, collect, compare
from adamolmo.report.figures.style import COLUMN_IN, PAGE_IN, save, tell_apart


def main() -> None:
    parser = job_parser(__doc__, "settings", "table")
    parser.add_argument("--cells", type=all_of, required=True)
    parser.add_argument("--markdown", type=Path, required=True)
    parser.add_argument("--comparisons", type=Path, required=True)
    parser.add_argument("--figure", type=Path, required=True, help="the PDF over both columns; a PNG lies beside it")
    parser.add_argument("--one-column", type=Path, required=True, help="the PDF for one column")
    parser.add_argument(
        "--unfamiliar", nargs="*", required=True, help="controllers of the study that are not the library's"
    )
    args = parser.parse_args()
    tell_apart(args.unfamiliar)
    settings = args.settings.lmms_eval
    table = collect(args.cells)
    write_table(table, args.table, BENCHMARKS)
    write_table(compare(args.cells), args.comparisons, BENCHMARK_COMPARISONS)
    with replacing(args.markdown) as temporary:
        temporary.write_text(as_markdown(table, settings.budgets))
    metrics = {task: entry.metric for task, entry in settings.tasks.items()}
    save(benchmarks(table, metrics, PAGE_IN), args.figure.with_suffix(""))
    save(benchmarks(table, metrics, COLUMN_IN), args.one_column.with_suffix(""), ["pdf"])


if __name__ == "__main__":
    run(main)
