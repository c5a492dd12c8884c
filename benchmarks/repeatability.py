"""How well a latency can be measured again: five configurations in separate processes, one after the other.

Each run is a new process that claims a core or GPU, loads the model, warms up and times the configurations as core_exp
does (`core_exp/latency.py`). Prints per configuration the median latency of each run and their coefficient of
variation, and per run the drift of the reference and how far the stages are from the request's own time. Writes all
as JSON.

    python benchmarks/repeatability.py --model results/model --importance results/importance/scores.json
"""

import argparse
import json
import multiprocessing
from pathlib import Path

from adamolmo.config import StudyConfig
from adamolmo.inference.device import claim_device, describe_device
from adamolmo.jobs.script import run
from adamolmo.knobs import KnobConfig

KNOBS = ["tier", "top_k", "num_active_blocks"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("config.yaml"))
    parser.add_argument("--model", type=Path, default=Path("results/model"))
    parser.add_argument("--importance", type=Path, default=Path("results/importance/scores.json"))
    parser.add_argument("--configs", nargs="+", default=None, help="five from all over the grid, unless given")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--samples", type=int, default=10, help="timed questions of each dataset")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/repeatability.json"))
    args = parser.parse_args()
    study = StudyConfig.load(args.config)
    grid = study.knobs.grid.configs
    configs = [KnobConfig.parse(name) for name in args.configs or []] or grid[:: max(1, (len(grid) - 1) // 4)][:5]
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        runs = [pool.apply(time_configs, (args, study, configs, number)) for number in range(args.runs)]
    record = summarise(runs, configs)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(record, indent=1) + "\n")
    print_table(record)


def time_configs(args: argparse.Namespace, study: StudyConfig, configs: list[KnobConfig], number: int) -> dict:
    """One run in a process of its own."""
    with claim_device(study.model.device):
        from pandas import concat

        from adamolmo.core_exp.latency import latency_pass
        from adamolmo.core_exp.latency_model import STAGES
        from adamolmo.core_exp.merge import drift
        from adamolmo.data.samples import samples_of
        from adamolmo.data.sources import draw_samples
        from adamolmo.jobs.loading import load_engine, questions_of

        engine = load_engine(study, args.model, args.importance)
        tables, references = [], []
        for name, dataset in study.datasets.items():
            drawn = draw_samples(dataset, name, "profile", args.samples, study.seed)
            table, metadata = latency_pass(
                engine,
                questions_of(study, name, samples_of(drawn)),
                configs,
                study.knobs.grid.full,
                repeats=study.latency.repeats,
                max_warmup=study.latency.max_warmup,
                seed=(study.seed, number),
            )
            tables.append(table)
            references.append(metadata["reference_ms"])
        table = concat(tables, ignore_index=True)
        latency_ms = table[STAGES].sum(axis=1)
        unaccounted_pct = 100 * (table["elapsed_ms"] / latency_ms - 1).abs()
        medians = latency_ms.groupby([table[knob] for knob in KNOBS]).median()
        return {
            "device": describe_device(study.model.device),
            "median_ms": {str(KnobConfig(*key)): float(value) for key, value in medians.items()},
            "drift_pct": max(drift([reference_ms]) for reference_ms in references),
            "unaccounted_pct": {"median": float(unaccounted_pct.median()), "largest": float(unaccounted_pct.max())},
            "rows": len(table),
            "rows_above_1_pct": int((unaccounted_pct > 1).sum()),
        }


def summarise(runs: list[dict], configs: list[KnobConfig]) -> dict:
    from statistics import mean, stdev

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
