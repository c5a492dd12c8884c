"""Joins the parts of a dataset's profile, and states what budgets in percent refer to."""

from pathlib import Path

from adamolmo.core_exp.merge import merge_profile, reference_latency
from adamolmo.files.core_exp import CORE_EXP, CORE_EXP_ACCURACY, CORE_EXP_LATENCY
from adamolmo.files.documents import write_json
from adamolmo.files.many import all_of
from adamolmo.files.schema import read_table, write_table
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.script import run


def main() -> None:
    parser = job_parser(__doc__, "settings", "table")
    parser.add_argument("--accuracy", type=all_of, required=True)
    parser.add_argument("--latency", type=all_of, required=True, help="none with the modelled clock")
    parser.add_argument("--reference", type=Path, required=True, help="the JSON document to write")
    args = parser.parse_args()
    settings = args.settings
    table, metadata = merge_profile(
        {path: read_table(path, CORE_EXP_ACCURACY) for path in args.accuracy},
        {path: read_table(path, CORE_EXP_LATENCY) for path in args.latency},
        settings.knobs.grid.configs,
        fixed_prefix_layers=settings.model.fixed_prefix_layers,
        max_failed_fraction=settings.core_exp.max_failed_fraction,
        drift_limit_pct=settings.latency.drift_limit_pct,
    )
    write_table(table, args.table, CORE_EXP, metadata)
    write_json(reference_latency(table, metadata, settings.knobs.grid.full), args.reference)


if __name__ == "__main__":
    run(main)
