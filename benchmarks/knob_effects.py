"""What every knob costs and saves: accuracy and latency of the configurations along each axis of the grid.

Prints the Markdown tables of the embedded model's card: all knobs, and the tiers by the size of the image. Accuracy
over `--samples` held-out questions per dataset (95 % interval clustered by image); latency at batch 1 on one claimed
core or GPU, configurations interleaved, median over `--timed` of the questions.

    python benchmarks/knob_effects.py [--config config.yaml] [--results results] [--samples 700] [--timed 10]

Needs the study's model and block importance.
"""

from argparse import Namespace
from dataclasses import replace

import pandas as pd
from arguments import study_parser, write_record

from adamolmo.config import StudyConfig
from adamolmo.core_exp.accuracy import accuracy_pass
from adamolmo.core_exp.latency import latency_pass
from adamolmo.data.samples import samples_of
from adamolmo.data.sources import draw_samples
from adamolmo.files.columns import KNOBS, STAGES
from adamolmo.inference.device import claim_device
from adamolmo.inference.grid import BatchLimits
from adamolmo.jobs.loading import load_engine, questions_of, study_device
from adamolmo.jobs.script import run
from adamolmo.knobs import KnobConfig, KnobGrid
from adamolmo.statistics.intervals import clustered_bootstrap

BATCH = BatchLimits(16)
ACCURACY = "{value:.3f} ({low:.3f}-{high:.3f})"


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--samples", type=int, default=700, help="questions per dataset")
    parser.add_argument("--timed", type=int, default=10, help="timed questions per dataset")
    parser.add_argument("--seed", type=int, default=100, help="of the questions; not the study's own")
    args = parser.parse_args()
    settings = StudyConfig.load(*args.config)
    grid = settings.knobs.grid
    configs = along_each_axis(grid)
    with claim_device(settings.model.device):
        scored, timed = measure(settings, configs, args)
        device = study_device(settings, args.results / "model")
    rows = [summarise(config, scored, timed) for config in configs]
    tiers = [replace(grid.full, tier=tier) for tier in reversed(grid.tiers)]
    by_size = [summarise_size(size, config, scored) for size in sizes_of(scored) for config in tiers]
    print_table(rows)
    print_sizes(by_size, list(settings.datasets))
    record = {"device": device, "questions_per_dataset": args.samples, "rows": rows, "by_size": by_size}
    write_record(record, args.output)


def along_each_axis(grid: KnobGrid) -> list[KnobConfig]:
    """The full configuration, every lower value of each knob alone, and the cheapest configuration."""
    full = grid.full
    return [
        full,
        *(replace(full, num_active_blocks=value) for value in reversed(grid.num_active_blocks[:-1])),
        *(replace(full, top_k=value) for value in reversed(grid.top_k[:-1])),
        *(replace(full, tier=value) for value in reversed(grid.tiers[:-1])),
        grid.configs[0],
    ]


def measure(settings: StudyConfig, configs: list[KnobConfig], args: Namespace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scored rows and timed rows of every configuration on every dataset."""
    engine = load_engine(settings, args.results / "model", args.results / "importance" / "scores.json")
    scored, timed = [], []
    for name, dataset in settings.datasets.items():
        samples = samples_of(draw_samples(dataset, name, "evaluation", args.samples, args.seed))
        passed = accuracy_pass(engine, questions_of(settings, name, samples), configs, BATCH)
        sizes = {sample.image_id: "{} x {}".format(*sample.open_image().size) for sample in samples}
        scored.append(passed.assign(dataset=name, size=passed["image_id"].map(sizes)))
        rows, _ = latency_pass(
            engine,
            questions_of(settings, name, samples[: args.timed]),
            configs,
            settings.knobs.grid.full,
            repeats=settings.latency.repeats,
            max_warmup=settings.latency.max_warmup,
            seed=0,
        )
        timed.append(rows.assign(dataset=name))
    return tuple(pd.concat(tables, ignore_index=True).set_index(list(KNOBS)).sort_index() for tables in (scored, timed))


def summarise(config: KnobConfig, scored: pd.DataFrame, timed: pd.DataFrame) -> dict:
    rows, times = rows_of(config, scored), rows_of(config, timed)
    return {
        "config": str(config),
        "latency_ms": float(times[list(STAGES)].sum(axis=1).median()),
        "accuracy": with_interval(rows),
        "by_dataset": rows.groupby("dataset", sort=False)["accuracy"].mean().to_dict(),
    }


def sizes_of(scored: pd.DataFrame) -> list[str]:
    """Widths and heights of the images, the largest first."""
    return sorted(scored["size"].unique(), key=lambda size: [-int(side) for side in size.split(" x ")])


def summarise_size(size: str, config: KnobConfig, scored: pd.DataFrame) -> dict:
    """What a tier takes and reaches on the images of one size; a dataset that has none is left out."""
    rows = rows_of(config, scored[scored["size"] == size])
    return {
        "size": size,
        "tier": config.tier,
        "crops": int(rows["num_crops"].max()),
        "by_dataset": {name: with_interval(part) for name, part in rows.groupby("dataset", sort=False)},
    }


def rows_of(config: KnobConfig, table: pd.DataFrame) -> pd.DataFrame:
    return table.loc[[(config.tier, config.top_k, config.num_active_blocks)]]


def with_interval(rows: pd.DataFrame) -> dict[str, float]:
    """Mean accuracy, clustered by image."""
    images = (rows["dataset"] + rows["image_id"]).to_numpy()
    return vars(clustered_bootstrap(rows["accuracy"].to_numpy(), images))


def print_table(rows: list[dict]) -> None:
    datasets = list(rows[0]["by_dataset"])
    print(f"| configuration | {' | '.join(datasets)} | all (95 % interval) | latency, ms |")
    print("|---|" + "---|" * (len(datasets) + 2))
    for row in rows:
        cells = " | ".join(f"{accuracy:.3f}" for accuracy in row["by_dataset"].values())
        print(f"| {row['config']} | {cells} | {ACCURACY.format(**row['accuracy'])} | {row['latency_ms']:.1f} |")


def print_sizes(rows: list[dict], datasets: list[str]) -> None:
    print(f"\n| image, px | tier | crops | {' | '.join(datasets)} |")
    print("|---|---|---|" + "---|" * len(datasets))
    for row in rows:
        reached = row["by_dataset"]
        cells = " | ".join(ACCURACY.format(**reached[name]) if name in reached else "" for name in datasets)
        print(f"| {row['size']} | {row['tier']} | {row['crops']} | {cells} |")


if __name__ == "__main__":
    run(main)
