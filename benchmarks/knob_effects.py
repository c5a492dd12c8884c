"""What every knob costs and saves: accuracy and latency of the configurations along each axis of the grid.

Prints the Markdown tables of the embedded model's card: all knobs, and the tiers by the size of the image. Accuracy
over `--questions` held-out questions per dataset (95 % interval clustered by image); latency at batch 1 on one claimed
core, configurations interleaved, median over `--timed` questions per dataset. Its last line is JSON.

    python benchmarks/knob_effects.py --model results/model --importance results/importance/scores.json
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from adamolmo.config import StudyConfig
from adamolmo.inference.device import claim_device, describe_device
from adamolmo.jobs.script import run
from adamolmo.knobs import KnobConfig

CONFIGS = [
    *(KnobConfig("high", 8, blocks) for blocks in (16, 15, 14, 13, 12)),
    *(KnobConfig("high", top_k, 16) for top_k in (6, 4, 2, 1)),
    KnobConfig("medium", 8, 16),
    KnobConfig("low", 8, 16),
    KnobConfig("low", 1, 12),
]
TIERS = [KnobConfig(tier, 8, 16) for tier in ("high", "medium", "low")]
KNOBS = ["tier", "top_k", "num_active_blocks"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("config.yaml"))
    parser.add_argument("--model", type=Path, default=Path("results/model"))
    parser.add_argument("--importance", type=Path, default=Path("results/importance/scores.json"))
    parser.add_argument("--questions", type=int, default=700, help="per dataset")
    parser.add_argument("--timed", type=int, default=10, help="timed questions per dataset")
    parser.add_argument("--seed", type=int, default=100, help="of the questions; not the study's own")
    args = parser.parse_args()
    study = StudyConfig.load(args.config)
    with claim_device(study.model.device):
        scored, timed = measure(study, args)
    rows = report_knobs(scored, timed)
    report_sizes(scored)
    print(json.dumps({"device": describe_device("cpu"), "questions_per_dataset": args.questions, "rows": rows}))


def measure(study: StudyConfig, args: argparse.Namespace):
    """Scored rows and timed rows of every configuration on every dataset."""
    import pandas as pd

    from adamolmo.core_exp.accuracy import accuracy_pass
    from adamolmo.core_exp.latency import latency_pass
    from adamolmo.data.samples import samples_of
    from adamolmo.data.sources import draw_samples
    from adamolmo.inference.grid import BatchLimits
    from adamolmo.jobs.loading import load_engine, questions_of

    engine = load_engine(study, args.model, args.importance)
    scored, timed = [], []
    for name, dataset in study.datasets.items():
        drawn = draw_samples(dataset, name, "evaluation", args.questions, args.seed)
        questions = questions_of(study, name, samples_of(drawn))
        passed = accuracy_pass(engine, questions, CONFIGS, BatchLimits(16))
        sizes = {sample.image_id: "{} x {}".format(*sample.open_image().size) for sample in questions.samples}
        scored.append(passed.assign(dataset=name, size=passed["image_id"].map(sizes)))
        timed_questions = replace(questions, samples=questions.samples[: args.timed])
        rows, _ = latency_pass(
            engine, timed_questions, CONFIGS, study.knobs.grid.full, repeats=3, max_warmup=30, seed=0
        )
        timed.append(rows.assign(dataset=name))
    return pd.concat(scored, ignore_index=True), pd.concat(timed, ignore_index=True)


def report_knobs(scored, timed) -> list[dict]:
    """Prints a row per configuration; returns the rows."""
    datasets = list(dict.fromkeys(scored["dataset"]))
    print(f"| configuration | {' | '.join(datasets)} | all (95 % interval) | latency, ms |")
    print("|---|" + "---|" * (len(datasets) + 2))
    records = []
    for config in CONFIGS:
        rows, times = rows_of(scored, config), rows_of(timed, config)
        by_dataset = rows.groupby("dataset")["accuracy"].mean().to_dict()
        latency_ms = float(times[["vision_ms", "prefill_ms", "decode_ms"]].sum(axis=1).median())
        records.append(
            {"config": str(config), "latency_ms": latency_ms, "accuracy": rows["accuracy"].mean(), **by_dataset}
        )
        cells = " | ".join(f"{by_dataset[name]:.3f}" for name in datasets)
        print(f"| {config} | {cells} | {with_interval(rows)} | {latency_ms:.1f} |")
    return records


def report_sizes(scored) -> None:
    """Prints a row per tier and size of the images, everything else at its full value."""
    datasets = list(dict.fromkeys(scored["dataset"]))
    print(f"\n| image, px | tier | crops | {' | '.join(datasets)} |")
    print("|---|---|---|" + "---|" * len(datasets))
    for size in sorted(scored["size"].unique(), key=lambda size: [-int(side) for side in size.split(" x ")]):
        for config in TIERS:
            rows = rows_of(scored[scored["size"] == size], config)
            cells = " | ".join(with_interval(rows[rows["dataset"] == name]) for name in datasets)
            print(f"| {size} | {config.tier} | {rows['num_crops'].median():.0f} | {cells} |")


def rows_of(table, config: KnobConfig):
    return table[(table[KNOBS] == list(vars(config).values())).all(axis=1)]


def with_interval(rows) -> str:
    from adamolmo.statistics.intervals import clustered_bootstrap

    pooled = clustered_bootstrap(rows["accuracy"].to_numpy(), (rows["dataset"] + rows["image_id"]).to_numpy())
    return f"{pooled.value:.3f} ({pooled.low:.3f}-{pooled.high:.3f})"


if __name__ == "__main__":
    run(main)
