"""What every configuration answers on the evaluation split, and takes according to the profile's stage model."""

from pathlib import Path

from adamolmo.core_exp.merge import merge_estimated
from adamolmo.files.core_exp import CORE_EXP, CORE_EXP_ACCURACY
from adamolmo.files.many import all_of
from adamolmo.files.schema import read_table, write_table
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.script import run


def main() -> None:
    parser = job_parser(__doc__, "settings", "output")
    parser.add_argument("--accuracy", type=all_of, required=True)
    parser.add_argument("--core-exp", type=Path, required=True, help="profile of the same dataset")
    args = parser.parse_args()
    settings = args.settings
    table, metadata = merge_estimated(
        {path: read_table(path, CORE_EXP_ACCURACY) for path in args.accuracy},
        read_table(args.core_exp, CORE_EXP),
        settings.knobs.grid.configs,
        fixed_prefix_layers=settings.model.fixed_prefix_layers,
        max_new_tokens=settings.max_new_tokens,
        max_failed_fraction=settings.core_exp.max_failed_fraction,
    )
    write_table(table, args.output, CORE_EXP, metadata)


if __name__ == "__main__":
    run(main)
