"""How much a busy neighbour core inflates latency.

One process answers requests on a claimed core. In turns of `--seconds` the other cores are idle, or each answers
requests as well, as in `snakemake --cores all`. Prints the median of each condition and the ratio busy / idle with its
95 % interval over pairs of turns (median).

    python benchmarks/neighbours.py [--config config.yaml] [--results results] [--turns 8] [--seconds 4]

Needs the study's model.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from arguments import study_parser, write_record

from adamolmo.config import StudyConfig
from adamolmo.data.procedural import scene
from adamolmo.inference.controller import FixedController, Limit
from adamolmo.inference.device import claim_device
from adamolmo.jobs.loading import load_engine, study_device
from adamolmo.jobs.script import run
from adamolmo.statistics.intervals import median_interval

WARM_UP_REQUESTS = 10
SECONDS_TO_SETTLE = 0.3  # what a neighbour has begun when it is told to stop ends meanwhile


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--turns", type=int, default=8, help="turns of each condition")
    parser.add_argument("--seconds", type=float, default=4, help="length of a turn")
    args = parser.parse_args()
    settings, model = StudyConfig.load(*args.config), args.results / "model"
    context, cores = multiprocessing.get_context("spawn"), os.sched_getaffinity(0)
    working, ready = context.Event(), context.Barrier(len(cores))
    neighbours = [
        context.Process(target=work_when_told, args=(settings, model, cores, ready, working), daemon=True)
        for _ in range(len(cores) - 1)
    ]
    with claim_device("cpu"):
        for process in neighbours:
            process.start()
        ask = requester(settings, model)
        for _ in range(WARM_UP_REQUESTS):
            ask()
        ready.wait()
        medians_ms = take_turns(ask, working, args.turns, args.seconds)
        device = study_device(settings, model)
    ratio = median_interval([b / i for b, i in zip(medians_ms["busy"], medians_ms["idle"], strict=True)])
    for condition, values in medians_ms.items():
        print(f"{condition}: {median(values):.2f} ms (median of {len(values)} turns)")
    print(f"busy / idle, {len(neighbours)} neighbour(s): {ratio.value:.3f} ({ratio.low:.3f}-{ratio.high:.3f})")
    record = {"device": device, "neighbours": len(neighbours), "medians_ms": medians_ms, "ratio": vars(ratio)}
    write_record(record, args.output)


def requester(settings: StudyConfig, model: Path) -> Callable[[], float]:
    """A function that answers one fixed request with the full configuration and returns its latency in ms."""
    engine = load_engine(settings, model)
    drawn = scene("text_vqa", "benchmark", 0)
    controller = FixedController(settings.knobs.grid.full)
    question = drawn.questions[0].text
    return lambda: engine.answer(drawn.image, question, "text_vqa", controller, Limit()).stages.total_ms


def work_when_told(settings: StudyConfig, model: Path, cores: set[int], ready, working) -> None:
    """A neighbour, on another of the `cores`: what started it is pinned to its own."""
    os.sched_setaffinity(0, cores)
    with claim_device("cpu"):
        ask = requester(settings, model)
        ready.wait()
        while True:
            working.wait()
            ask()


def take_turns(ask: Callable[[], float], working, turns: int, seconds: float) -> dict[str, list[float]]:
    """Median latency in ms of every turn, idle and busy in alternation."""
    medians_ms = {"idle": [], "busy": []}
    for _ in range(turns):
        for condition, values in medians_ms.items():
            working.set() if condition == "busy" else working.clear()
            time.sleep(SECONDS_TO_SETTLE)
            end, latencies_ms = time.perf_counter() + seconds, []
            while not latencies_ms or time.perf_counter() < end:
                latencies_ms.append(ask())
            values.append(median(latencies_ms))
    return medians_ms


if __name__ == "__main__":
    run(main)
