"""core_exp and one cell with a MolmoE of random weights: how fast a study of the real model would be on this device.

The model is MolmoE-1B in its size (`--size molmoe`, the sizes of engine.py); its answers mean nothing. In one process
it answers drawn questions under every configuration (the accuracy pass), times them (the latency pass), and evaluates
the full configuration as a cell under 70 % of its own latency, all as the study does. Which blocks are skipped is
arbitrary. It prints seconds per part, median latencies in ms and the drift of the speed probe.

    python benchmarks/random_study.py --device cuda
"""

import time
from argparse import Namespace
from pathlib import Path

import torch
from arguments import benchmark_parser, write_record
from engine import SIZES, model_config, random_model

from adamolmo.budgets import Budget
from adamolmo.config import StudyConfig
from adamolmo.controllers.governor import Governor
from adamolmo.core_exp.accuracy import accuracy_pass
from adamolmo.core_exp.latency import latency_pass
from adamolmo.core_exp.merge import drift
from adamolmo.data.samples import samples_of
from adamolmo.data.sources import draw_samples
from adamolmo.evaluation.cell import evaluate_cell
from adamolmo.evaluation.cell_summary import Cell
from adamolmo.files.columns import KNOBS, STAGES
from adamolmo.files.core_exp import Reference
from adamolmo.inference.clock import MeasuredClock
from adamolmo.inference.controller import FixedController
from adamolmo.inference.device import claim_device
from adamolmo.inference.engine import Engine
from adamolmo.jobs.loading import batch_limits, questions_of
from adamolmo.jobs.script import run
from adamolmo.knobs import BlockRanking, KnobConfig, KnobGrid
from adamolmo.model.backend import MolmoEBackend
from adamolmo.model.preprocess import CropRange
from adamolmo.model.tokenizer import Tokenizer
from adamolmo.statistics.intervals import Resampling, median_interval

ROOT = Path(__file__).parents[1]
DATASET = "okvqa"
# The tiers of the paper's model: 336 px crops with the overview.
TIERS = {"low": CropRange(1, 3), "high": CropRange(1, 12)}
GRID = KnobGrid(("low", "high"), (4, 8), (12, 16))
SKIPPED_FIRST = (10, 9, 8, 7)


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--size", choices=list(SIZES), default="molmoe")
    parser.add_argument("--samples", type=int, default=8, help="questions")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each question and configuration")
    parser.add_argument("--max-warmup", type=int, default=20)
    args = parser.parse_args()
    settings = StudyConfig.load(ROOT / "config.yaml")
    with claim_device(args.device):
        record = measure(settings, args)
    print_record(record)
    write_record(record, args.output)


def measure(settings: StudyConfig, args: Namespace) -> dict:
    seconds, started = {}, time.perf_counter()

    def finished(part: str) -> None:
        nonlocal started
        seconds[part] = time.perf_counter() - started
        started = time.perf_counter()

    engine = random_engine(args, settings.max_new_tokens)
    finished("model")
    rows = draw_samples(settings.datasets[DATASET], DATASET, "profile", args.samples, settings.seed)
    questions = questions_of(settings, DATASET, samples_of(rows))
    answers = accuracy_pass(engine, questions, GRID.configs, batch_limits(settings))
    finished("accuracy pass")
    timings = {"repeats": args.repeats, "max_warmup": args.max_warmup, "seed": settings.seed}
    table, metadata = latency_pass(engine, questions, GRID.configs, GRID.full, **timings)
    finished("latency pass")
    latency_ms = table[list(STAGES)].sum(axis=1).groupby([table[knob] for knob in KNOBS]).median()
    median_ms = {str(KnobConfig(*key)): float(value) for key, value in latency_ms.items()}
    cell, timing = evaluate_static(engine, questions, median_ms, metadata["reference_ms"], args)
    finished("cell")
    return {
        "benchmark": "random_study",
        "device": engine.device,
        "size": args.size,
        "seconds": seconds,
        "answers": len(answers),
        "median_ms": median_ms,
        "drift_pct": drift([metadata["reference_ms"]]),
        "cell": {
            "requests": len(cell),
            "median_latency_ms": float(cell["latency_ms"].median()),
            "slowdown": timing.probe_ms.value / median_interval(metadata["reference_ms"]).value,
        },
    }


def random_engine(args: Namespace, max_new_tokens: int) -> Engine:
    """In the number format of the device, with the vocabulary of the embedded model."""
    dtype = torch.bfloat16 if args.device == "cuda" else torch.float32
    model = random_model(model_config(args.size), args.device, dtype, seed=0)
    tokenizer = Tokenizer.load(ROOT / "resources" / "embedded").fitting(model.config)
    ranking = BlockRanking(model.config.num_layers, SKIPPED_FIRST)
    engine = Engine(MolmoEBackend(model, tokenizer, TIERS), ranking, MeasuredClock(args.device), max_new_tokens)
    engine.prepare_decoder(GRID.configs)
    return engine


def evaluate_static(engine: Engine, questions, median_ms: dict, probe_ms: list[float], args: Namespace) -> tuple:
    controller = FixedController(GRID.full)
    reference = Reference(
        config=str(GRID.full),
        median_latency_ms=median_ms[str(GRID.full)],
        lowest_median_latency_ms=min(median_ms.values()),
        reference_request_ms=median_interval(probe_ms),
        device=engine.device,
        clock="measured",
    )
    cell = Cell(DATASET, controller.name, Budget.parse("70pct"), reference)
    governor = Governor(cell.budget_ms)
    run_cell = {"full": GRID.full, "max_warmup": args.max_warmup, "resampling": Resampling(200)}
    return evaluate_cell(engine, questions, controller, governor, cell, **run_cell)


def print_record(record: dict) -> None:
    for part, seconds in record["seconds"].items():
        print(f"{part}: {seconds:.1f} s")
    for config, ms in record["median_ms"].items():
        print(f"{config}: {ms:.2f} ms (median)")
    cell = record["cell"]
    print(f"drift of the speed probe {record['drift_pct']:.1f} %")
    print(
        f"cell of {cell['requests']} requests: {cell['median_latency_ms']:.2f} ms (median), the speed probe takes "
        f"{cell['slowdown']:.2f} times as long as in the profile"
    )


if __name__ == "__main__":
    run(main)
