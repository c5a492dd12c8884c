"""Makes what is looked up per request, of each dataset and over all datasets ("pooled"): per aggregation one file of
tables, and the latency that a request's size lets expect."""

from pathlib import Path

from adamolmo.controllers.table import LookupTable, aggregate, save_tables
from adamolmo.core_exp import expected_latency
from adamolmo.core_exp.reading import read_profiles
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.script import run

COLUMNS = ["dataset", "accuracy", *expected_latency.COLUMNS]


def main() -> None:
    parser = job_parser(__doc__, "settings")
    parser.add_argument("--core-exp", type=Path, nargs="+", required=True)
    parser.add_argument("--tables", type=Path, nargs="+", required=True, help="one per aggregation, named after it")
    parser.add_argument("--latency", type=Path, required=True, help="the JSON document of expected latencies to write")
    args = parser.parse_args()
    profile, metadata = read_profiles(args.core_exp, COLUMNS)
    parts = dict(tuple(profile.groupby("dataset"))) | {"pooled": profile}
    for output in args.tables:
        tables = {
            name: LookupTable.from_frame(aggregate(part, output.stem), metadata | {"aggregation": output.stem})
            for name, part in parts.items()
        }
        save_tables(tables, output)
    configs, model = args.settings.knobs.grid(), args.settings.model
    fitted = {
        name: expected_latency.fit(part, configs, model.fixed_prefix_layers, args.settings.max_new_tokens)
        for name, part in parts.items()
    }
    expected_latency.save(fitted, configs, metadata["clock"], metadata["device"], args.latency)


if __name__ == "__main__":
    run(main)
