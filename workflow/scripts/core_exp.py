"""Answers of every knob configuration of one tier on one shard of a dataset's samples."""

from adamolmo.core_exp.accuracy import accuracy_pass
from adamolmo.core_exp.provenance import provenance
from adamolmo.data.samples import check_failures, read_samples, split_readable
from adamolmo.data.scoring import SCORERS
from adamolmo.files.core_exp import CORE_EXP_ACCURACY
from adamolmo.files.schema import write_table
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import load_engine
from adamolmo.jobs.script import run


def main() -> None:
    parser = job_parser(__doc__, "dataset", "shard", "model", "samples", "scores", "settings", "output")
    parser.add_argument("--tier", required=True)
    args = parser.parse_args()
    settings, dataset, core_exp = args.settings, args.settings.datasets[args.dataset], args.settings.core_exp
    samples = read_samples(args.samples)
    usable, failed = split_readable(samples[args.shard :: core_exp.shards])
    check_failures(failed, len(samples), core_exp.max_failed_fraction)
    engine = load_engine(settings, args.model, args.scores)
    table = accuracy_pass(
        engine,
        usable,
        dataset.style,
        SCORERS[dataset.scorer],
        [config for config in settings.knobs.grid.configs if config.tier == args.tier],
        batch_size=core_exp.batch_size,
        memory_bytes=core_exp.memory_bytes,
    )
    metadata = provenance(engine, args.model, args.samples, settings.seed) | {"failed": failed}
    write_table(table.assign(dataset=args.dataset), args.output, CORE_EXP_ACCURACY, metadata)


if __name__ == "__main__":
    run(main)
