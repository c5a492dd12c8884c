"""What sharing saves in the accuracy pass of core_exp, in one run on one claimed core.

It answers everything twice: one configuration and one sample at a time through the engine, as a plain profiler would,
and shared and batched as core_exp does. The shared pass is repeated for growing numbers of samples and of
configurations; what these cost one at a time is the sum of their requests' times. Both ways include opening and
cropping the images. It prints the number of answers that differ, seconds, speed-up and operations of both. With
`--output` it draws cost against the number of configurations and of samples beside the file, as .pdf and .png.

    python benchmarks/profiling.py [--config config.yaml] [--results results] [--samples 60]

Needs the study's model and block importance. Operations are those of the requests' tokens by the analytic model
(padding not counted).
"""

import time
from argparse import Namespace
from pathlib import Path

from arguments import study_parser, write_record
from matplotlib.figure import Figure

from adamolmo.config import StudyConfig
from adamolmo.core_exp.accuracy import accuracy_pass
from adamolmo.data.samples import Questions, samples_of
from adamolmo.data.sources import draw_samples
from adamolmo.inference.controller import FixedController, Limit
from adamolmo.inference.device import claim_device
from adamolmo.inference.grid import BatchLimits, image_batches, num_block_runs, prepare_group
from adamolmo.jobs.loading import batch_limits, load_engine, questions_of
from adamolmo.jobs.script import run
from adamolmo.knobs import DecoderKnobs, KnobConfig
from adamolmo.model.packing import pack


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--samples", type=int, default=60, help="most samples per dataset")
    args = parser.parse_args()
    settings = StudyConfig.load(*args.config)
    with claim_device(settings.model.device):
        record = measure(settings, args)
    print_table(record)
    write_record(record, args.output)
    if args.output:
        plot(record, args.output)


def measure(settings: StudyConfig, args: Namespace) -> dict:
    engine = load_engine(settings, args.results / "model", args.results / "importance" / "scores.json")
    grid = settings.knobs.grid.configs
    asked = drawn_questions(settings, args.samples)
    alone = {name: ask_one_by_one(engine, questions, grid) for name, questions in asked.items()}
    sample_counts = [count for count in (6, 15, 30, 60, 120) if count < args.samples] + [args.samples]
    config_counts = [count for count in (1, 3, 9, 25) if count < len(grid)]
    cells = [(count, grid) for count in sample_counts] + [
        (args.samples, spread(grid, count)) for count in config_counts
    ]
    runs = [compare(engine, settings, num_samples, configs, alone) for num_samples, configs in cells]
    return {"device": engine.device, "datasets": list(settings.datasets), "runs": runs}


def drawn_questions(settings: StudyConfig, num_samples: int) -> dict[str, Questions]:
    """Of every dataset."""
    drawn = {
        name: draw_samples(dataset, name, "profile", num_samples, settings.seed)
        for name, dataset in settings.datasets.items()
    }
    return {name: questions_of(settings, name, samples_of(rows)) for name, rows in drawn.items()}


def spread(grid: list, count: int) -> list:
    """`count` configurations from all over the grid, the full one among them."""
    return [grid[(number + 1) * len(grid) // count - 1] for number in range(count)]


def ask_one_by_one(engine, questions: Questions, configs: list) -> dict:
    """(sample, configuration) -> (answer, seconds)."""
    requests = {}
    for config in configs:
        controller = FixedController(config)
        for sample in questions.samples:
            start = time.perf_counter()
            response = engine.answer(sample.open_image(), sample.question, questions.style, controller, Limit())
            requests[sample.sample_id, config] = response.answer, time.perf_counter() - start
    return requests


def compare(engine, settings: StudyConfig, num_samples: int, configs: list, alone: dict) -> dict:
    """The shared pass over all datasets beside the same requests one by one."""
    totals = {"shared_s": 0.0, "alone_s": 0.0, "shared_flops": 0.0, "alone_flops": 0.0, "answers": 0, "differing": 0}
    for name, questions in drawn_questions(settings, num_samples).items():
        start = time.perf_counter()
        table = accuracy_pass(engine, questions, configs, batch_limits(settings))
        totals["shared_s"] += time.perf_counter() - start
        for row in table.itertuples():
            answer, seconds = alone[name][row.sample_id, config_of(row)]
            totals["alone_s"] += seconds
            totals["differing"] += answer != row.prediction
        totals["answers"] += len(table)
        totals["alone_flops"] += float(table["flops"].sum())
        totals["shared_flops"] += shared_flops(engine, questions, configs, table)
    return {"samples": num_samples * len(settings.datasets), "configs": len(configs), **totals}


def shared_flops(engine, questions: Questions, configs: list, table) -> float:
    """Operations of the shared pass: crops and shared tokens once per image, blocks once per node of the tree."""
    costs, config = engine.backend.costs, engine.backend.model.config
    total = 0.0
    for tier in dict.fromkeys(entry.tier for entry in configs):
        of_tier = [entry for entry in configs if entry.tier == tier]
        top_ks = sorted({entry.top_k for entry in of_tier})
        ((groups),) = image_batches(engine, questions, tier, BatchLimits(len(questions.samples)))
        for group in groups:
            rows = prepare_group(engine, group, questions.style, tier)
            tokens = pack([rows]).input_ids.shape[1]
            total += costs.vision(rows[0].pixels.shape[1]).flops + costs.prefix(tokens).flops
            for top_k in top_ks:
                knobs = [engine.decoder_knobs(entry) for entry in of_tier if entry.top_k == top_k]
                runs = num_block_runs(knobs, config.fixed_prefix_layers)
                one_block = DecoderKnobs(top_k, (config.num_layers - 1,))
                head = costs.adaptive(tokens, DecoderKnobs(top_k, ())).flops
                total += runs * (costs.adaptive(tokens, one_block).flops - head) + len(knobs) * len(rows) * head
    decode = [
        costs.decode(int(row.input_tokens), int(row.decode_steps), engine.decoder_knobs(config_of(row))).flops
        for row in table.itertuples()
    ]
    return total + sum(decode)


def config_of(row):
    return KnobConfig(row.tier, row.top_k, row.num_active_blocks)


def print_table(record: dict) -> None:
    print("| samples | configurations | one at a time, s | shared, s | speed-up | operations | differing answers |")
    print("|---|---|---|---|---|---|---|")
    for cell in record["runs"]:
        print(
            f"| {cell['samples']} | {cell['configs']} | {cell['alone_s']:.1f} | {cell['shared_s']:.1f} "
            f"| {cell['alone_s'] / cell['shared_s']:.1f}x | {cell['alone_flops'] / cell['shared_flops']:.1f}x "
            f"({(cell['alone_flops'] - cell['shared_flops']) / 1e9:.1f} GFLOP) "
            f"| {cell['differing']} of {cell['answers']} |"
        )


def plot(record: dict, path: Path) -> None:
    most_configs = max(cell["configs"] for cell in record["runs"])
    most_samples = max(cell["samples"] for cell in record["runs"])
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    panels = [
        ("samples", f"samples ({most_configs} configurations)", lambda cell: cell["configs"] == most_configs),
        ("configs", f"configurations ({most_samples} samples)", lambda cell: cell["samples"] == most_samples),
    ]
    for axis, (key, label, wanted) in zip(axes, panels, strict=True):
        cells = sorted(filter(wanted, record["runs"]), key=lambda cell: cell[key])
        numbers = [cell[key] for cell in cells]
        axis.plot(numbers, [cell["alone_s"] for cell in cells], "o-", color="#D55E00", label="one at a time")
        axis.plot(numbers, [cell["shared_s"] for cell in cells], "s-", color="#0072B2", label="shared (core_exp)")
        axis.set(xscale="log", yscale="log", xlabel=label)
        axis.set_xticks(numbers, [str(number) for number in numbers], minor=False)
        axis.set_xticks([], minor=True)
        axis.yaxis.set_major_formatter("{x:g}")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("time of the accuracy pass (s)")
    axes[0].legend()
    for suffix in (".pdf", ".png"):
        figure.savefig(path.with_suffix(suffix), dpi=150, metadata={"CreationDate": None} if suffix == ".pdf" else None)


if __name__ == "__main__":
    run(main)
