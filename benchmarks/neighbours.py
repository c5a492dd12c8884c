"""How much a busy neighbour core inflates latency.

One process answers requests on a claimed core. In turns of `--seconds` the other cores are idle, or each answers
requests as well, as in `snakemake --cores all`. Prints the median of each condition and the ratio busy / idle with its
95 % interval over pairs of turns (median). The last line is JSON.

    python benchmarks/neighbours.py --model results/model
"""

import argparse
import json
import multiprocessing
import os
import time
from pathlib import Path

from adamolmo.config import StudyConfig
from adamolmo.inference.device import claim_device, describe_device
from adamolmo.jobs.script import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("config.yaml"))
    parser.add_argument("--model", type=Path, default=Path("results/model"))
    parser.add_argument("--turns", type=int, default=8, help="turns of each condition")
    parser.add_argument("--seconds", type=float, default=4, help="length of a turn")
    args = parser.parse_args()
    study = StudyConfig.load(args.config)
    context = multiprocessing.get_context("spawn")
    working = context.Event()
    neighbours = [
        context.Process(target=_work_when_told, args=(study, args.model, working), daemon=True)
        for _ in range(len(os.sched_getaffinity(0)) - 1)
    ]
    with claim_device("cpu"):
        for process in neighbours:
            process.start()
        ask = requester(study, args.model)
        report(take_turns(ask, working, args.turns, args.seconds), len(neighbours))


def requester(study: StudyConfig, model: Path):
    """A function that answers one fixed request with the full configuration and returns its latency in ms."""
    from adamolmo.data.procedural import scene
    from adamolmo.inference.controller import FixedController, Limit
    from adamolmo.jobs.loading import load_engine

    engine = load_engine(study, model)
    drawn = scene("text_vqa", "benchmark", 0)
    controller = FixedController(study.knobs.grid.full)
    question = drawn.questions[0].text
    return lambda: engine.answer(drawn.image, question, "text_vqa", controller, Limit()).stages.total_ms


def _work_when_told(study: StudyConfig, model: Path, working) -> None:
    os.sched_setaffinity(0, range(os.cpu_count()))
    with claim_device("cpu"):
        ask = requester(study, model)
        while True:
            working.wait()
            ask()


def take_turns(ask, working, turns: int, seconds: float) -> dict[str, list[float]]:
    """Median latency in ms of every turn, idle and busy in alternation."""
    from statistics import median

    medians = {"idle": [], "busy": []}
    for _ in range(10):
        ask()
    time.sleep(8)  # the neighbours load their models
    for _ in range(turns):
        for condition in medians:
            working.set() if condition == "busy" else working.clear()
            time.sleep(0.3)
            end, latencies = time.perf_counter() + seconds, []
            while time.perf_counter() < end:
                latencies.append(ask())
            medians[condition].append(median(latencies))
    return medians


def report(medians: dict[str, list[float]], num_neighbours: int) -> None:
    import numpy as np

    from adamolmo.statistics.intervals import clustered_bootstrap, quantile

    ratios = np.array(medians["busy"]) / np.array(medians["idle"])
    ratio = clustered_bootstrap(ratios, np.arange(len(ratios)), quantile(0.5))  # a stall of the machine is no neighbour
    for condition, values in medians.items():
        print(f"{condition}: {np.median(values):.2f} ms (median of {len(values)} turns)")
    print(f"busy / idle, {num_neighbours} neighbour(s): {ratio.value:.3f} ({ratio.low:.3f}-{ratio.high:.3f})")
    print(json.dumps({"device": describe_device("cpu"), "medians_ms": medians, "ratio": vars(ratio)}))


if __name__ == "__main__":
    run(main)
