"""Answers of every knob configuration of one tier on one shard of a dataset's samples."""

from adamolmo.core_exp.accuracy import accuracy_pass
from adamolmo.core_exp.provenance import provenance
from adamolmo.data.samples import check_failures, read_samples
from adamolmo.files.core_exp import CORE_EXP_ACCURACY
from adamolmo.files.schema import write_table
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import batch_limits, load_engine, usable_questions
from adamolmo.jobs.script import run


def main() -> None:
    parser = job_parser(__doc__, "dataset", "shard", "model", "samples", "scores", "settings", "output")
    parser.add_argument("--tier", required=True)
    args = parser.parse_args()
    settings, core_exp = args.settings, args.settings.core_exp
    samples = read_samples(args.samples)
    engine = load_engine(settings, args.model, args.scores)
    questions, failed = usable_questions(settings, engine, args.dataset, samples[args.shard :: core_exp.shards])
    check_failures(failed, len(samples), core_exp.max_failed_fraction)
    configs = [config for config in settings.knobs.grid.configs if config.tier == args.tier]
    table = accuracy_pass(engine, questions, configs, batch_limits(settings))
    metadata = provenance(engine, args.model, args.samples, settings.seed) | {"failed": failed}
    write_table(table.assign(dataset=args.dataset), args.output, CORE_EXP_ACCURACY, metadata)


if __name__ == "__main__":
    run(main)
