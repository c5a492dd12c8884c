"""How well a latency can be measured again: five configurations in separate processes, one after the other.

Each run is a new process that claims a core or GPU, loads the model, warms up and times the configurations as core_exp
does (`core_exp/latency.py`). Prints per configuration the median latency of each run and their coefficient of
variation, and per run the drift of the reference and how far the stages are from the request's own time.

    python benchmarks/repeatability.py [--config config.yaml] [--results results] [--samples 10] [--runs 3]

Needs the study's model and block importance.
"""

import multiprocessing
from argparse import Namespace
from statistics import mean, stdev

from arguments import study_parser, write_record
from pandas import concat

from adamolmo.config import StudyConfig
from adamolmo.core_exp.latency import latency_pass
from adamolmo.core_exp.merge import drift
from adamolmo.data.samples import samples_of
from adamolmo.data.sources import draw_samples
from adamolmo.files.columns import KNOBS, STAGES
from adamolmo.inference.device import claim_device
from adamolmo.jobs.loading import load_engine, questions_of
from adamolmo.jobs.script import run
from adamolmo.knobs import KnobConfig


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--configs", type=KnobConfig.parse, nargs="+", help="five from all over the grid, unless given")
    parser.add_argument("--runs", type=int, default=3, help="processes, one after the other")
    parser.add_argument("--samples", type=int, default=10, help="timed questions of each dataset")
    args = parser.parse_args()
    settings = StudyConfig.load(*args.config)
    grid = settings.knobs.grid.configs
    configs = args.configs or grid[:: max(1, (len(grid) - 1) // 4)][:5]
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        runs = [pool.apply(time_configs, (args, settings, configs, number)) for number in range(args.runs)]
    record = summarise(runs, configs)
    print_table(record)
    write_record(record, args.output)


def time_configs(args: Namespace, settings: StudyConfig, configs: list[KnobConfig], number: int) -> dict:
    """One run in a process of its own."""
    with claim_device(settings.model.device):
        engine = load_engine(settings, args.results / "model", args.results / "importance" / "scores.json")
        tables, references = [], []
        for name, dataset in settings.datasets.items():
            samples = samples_of(draw_samples(dataset, name, "profile", args.samples, settings.seed))
            table, metadata = latency_pass(
                engine,
                questions_of(settings, name, samples),
                configs,
                settings.knobs.grid.full,
                repeats=settings.latency.repeats,
                max_warmup=settings.latency.max_warmup,
                seed=(settings.seed, number),
            )
            tables.append(table)
            references.append(metadata["reference_ms"])
        table = concat(tables, ignore_index=True)
        latency_ms = table[list(STAGES)].sum(axis=1)
        unaccounted_pct = 100 * (table["elapsed_ms"] / latency_ms - 1).abs()
        medians = latency_ms.groupby([table[knob] for knob in KNOBS]).median()
        return {
            "device": engine.device,
            "median_ms": {str(KnobConfig(*key)): float(value) for key, value in medians.items()},
            "drift_pct": max(drift([reference_ms]) for reference_ms in references),
            "unaccounted_pct": {"median": float(unaccounted_pct.median()), "largest": float(unaccounted_pct.max())},
            "rows": len(table),
            "rows_above_1_pct": int((unaccounted_pct > 1).sum()),
        }


def summarise(runs: list[dict], configs: list[KnobConfig]) -> dict:
    def variation_pct(name: str) -> float:
        values = [run["median_ms"][name] for run in runs]
        return 100 * stdev(values) / mean(values) if len(values) > 1 else 0.0

    return {"runs": runs, "variation_pct": {str(config): variation_pct(str(config)) for config in configs}}


def print_table(record: dict) -> None:
    runs = record["runs"]
    print(f"| configuration | {' | '.join(f'run {n + 1}, ms' for n in range(len(runs)))} | coefficient of variation |")
    print("|---|" + "---|" * (len(runs) + 1))
    for name, variation_pct in record["variation_pct"].items():
        medians = " | ".join(f"{run['median_ms'][name]:.2f}" for run in runs)
        print(f"| {name} | {medians} | {variation_pct:.1f} % |")
    for number, result in enumerate(runs, start=1):
        unaccounted = result["unaccounted_pct"]
        print(
            f"run {number}: drift of the reference {result['drift_pct']:.1f} %; stages differ from the request's own "
            f"time by {unaccounted['median']:.2f} % (median), {unaccounted['largest']:.2f} % at most, "
            f"{result['rows_above_1_pct']} of {result['rows']} rows by more than 1 %"
        )


if __name__ == "__main__":
    run(main)
