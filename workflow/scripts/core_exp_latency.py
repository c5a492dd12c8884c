"""Times every knob configuration on one shard of the samples whose latency is measured."""

from adamolmo.core_exp.latency import choose_samples, latency_pass
from adamolmo.core_exp.provenance import provenance
from adamolmo.data.samples import read_samples
from adamolmo.files.core_exp import CORE_EXP_LATENCY
from adamolmo.files.schema import write_table
from adamolmo.inference.answerable import answerable
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import load_engine, questions_of
from adamolmo.jobs.script import run


def main() -> None:
    args = job_parser(__doc__, "dataset", "shard", "model", "samples", "scores", "settings", "output").parse_args()
    settings, timing = args.settings, args.settings.latency
    engine = load_engine(settings, args.model, args.scores)
    samples, _ = answerable(engine, read_samples(args.samples), settings.datasets[args.dataset].style)
    chosen = choose_samples(samples, timing.samples, settings.seed, settings.samples.max_pixels)
    table, measured = latency_pass(
        engine,
        questions_of(settings, args.dataset, chosen[args.shard :: settings.core_exp.shards]),
        settings.knobs.grid.configs,
        settings.knobs.grid.full,
        repeats=timing.repeats,
        max_warmup=timing.max_warmup,
        seed=(settings.seed, args.shard),
    )
    metadata = provenance(engine, args.model, args.samples, settings.seed) | measured
    write_table(table.assign(dataset=args.dataset), args.output, CORE_EXP_LATENCY, metadata)


if __name__ == "__main__":
    run(main)
