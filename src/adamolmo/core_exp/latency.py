"""The latency pass of the profile: single requests through the engine, every configuration on some of the samples.

Within a sample the configurations run in a new seeded random order in each round, so that what changes on the device
hits all alike; after each round the speed probe runs, which shows how the device drifts.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pandas import DataFrame
from PIL import Image

from adamolmo.data.images import MOST_PIXELS
from adamolmo.data.samples import Questions, Sample
from adamolmo.errors import AdaMolmoError
from adamolmo.files.columns import STAGES
from adamolmo.files.core_exp import CORE_EXP_LATENCY
from adamolmo.inference.clock import StageTimes, warm_up
from adamolmo.inference.controller import FixedController, Limit
from adamolmo.inference.engine import Engine, Response
from adamolmo.inference.speed_probe import SpeedProbe
from adamolmo.knobs import KnobConfig
from adamolmo.progress import note, progress


@dataclass(frozen=True)
class TimedRun:
    """One timed request.

    Attributes:
        elapsed_ms: of the whole call, by the process's own counter, without preprocessing and the (fixed) decision:
            what the stages must add up to.
    """

    response: Response
    elapsed_ms: float

    @property
    def latency_ms(self) -> float:
        return _stage_sum(self.response.stages)


def choose_samples(
    samples: Sequence[Sample], count: int | Literal["all"], seed: int, max_pixels: int = MOST_PIXELS
) -> list[Sample]:
    """A random choice of samples whose image can be read and has up to `max_pixels`, in random order, the same for the
    same seed.

    Raises AdaMolmoError when no image can be read.
    """
    chosen: list[Sample] = []
    for index in np.random.default_rng(seed).permutation(len(samples)):
        if count != "all" and len(chosen) == count:
            break
        try:
            samples[index].open_image(max_pixels)
            chosen.append(samples[index])
        except AdaMolmoError:
            continue  # listed by the accuracy pass, which reads every image
    if not chosen:
        raise AdaMolmoError(f"none of {len(samples)} samples has a readable image; expected some to time.")
    return chosen


def latency_pass(
    engine: Engine,
    questions: Questions,
    configs: Sequence[KnobConfig],
    full: KnobConfig,
    *,
    repeats: int,
    max_warmup: int,
    seed: int | Sequence[int],
) -> tuple[DataFrame, dict]:
    """Times every configuration on every sample, batch 1.

    Args:
        full: the configuration of the speed probe, which warms up and is timed again and again.
        repeats: runs of each (sample, configuration); the median one counts.
        max_warmup: warm-up runs at most.

    Returns:
        The rows of the table `core_exp_latency` without its dataset, and the metadata reference_ms (every timing of the
        probe, in order) and warmup_runs.
    """
    probe = SpeedProbe(engine, full)
    warmup_runs = warm_up(probe.run, max_warmup)
    if warmup_runs == max_warmup:
        note(f"warm-up ended at its limit of {max_warmup} runs (latency.max_warmup); it may not have stood still")
    rng = np.random.default_rng(seed)
    rows, reference_ms = [], []
    for timed in progress(questions.samples, "latency, samples", len(questions.samples)):
        image = timed.open_image()
        rounds, around_ms = [], []
        for _ in range(repeats):
            order = [configs[index] for index in rng.permutation(len(configs))]
            rounds.append({config: _ask(engine, image, timed.question, questions.style, config) for config in order})
            around_ms.append(probe.run())
        reference_ms += around_ms
        shared = {"sample_id": timed.sample_id, "reference_ms": float(np.median(around_ms))}
        rows += [shared | vars(config) | _summarise([runs[config] for runs in rounds]) for config in configs]
    table = DataFrame(rows, columns=[name for name in CORE_EXP_LATENCY.columns if name != "dataset"])
    return table, {"reference_ms": reference_ms, "warmup_runs": warmup_runs}


def _ask(engine: Engine, image: Image.Image, question: str, style: str | None, config: KnobConfig) -> TimedRun:
    controller = FixedController(config)
    start_ns = time.perf_counter_ns()
    response = engine.answer(image, question, style, controller, Limit())
    elapsed_ms = (time.perf_counter_ns() - start_ns) / 1e6
    return TimedRun(response, elapsed_ms - response.stages.preprocess_ms - response.stages.controller_ms)


def _summarise(runs: list[TimedRun]) -> dict:
    """Stages of the median run (of an even number, the faster of the two in the middle), so that they sum to it."""
    in_order = sorted(runs, key=lambda run: run.latency_ms)
    median = in_order[(len(in_order) - 1) // 2]
    low, high = np.quantile([run.latency_ms for run in in_order], [0.25, 0.75])
    return {
        "answer": median.response.answer,
        **{stage: getattr(median.response.stages, stage) for stage in STAGES},
        "latency_iqr_ms": high - low,
        "elapsed_ms": median.elapsed_ms,
        "num_runs": len(runs),
        "memory_bytes": max(run.response.memory_bytes for run in runs),
    }


def _stage_sum(stages: StageTimes) -> float:
    """The latency of a fixed configuration, to which no controller belongs."""
    return stages.vision_ms + stages.prefill_ms + stages.decode_ms
