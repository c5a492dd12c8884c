"""One cell of the study: a controller answers a dataset under a budget, one real and timed request per sample."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from adamolmo.budgets import Budget
from adamolmo.controllers.base import Controller
from adamolmo.controllers.static import StaticController
from adamolmo.data.samples import Sample, readable
from adamolmo.engine import Engine, Response
from adamolmo.errors import AdaMolmoError
from adamolmo.knobs import KnobConfig
from adamolmo.latency import describe_device, warm_up
from adamolmo.progress import progress
from adamolmo.statistics import clopper_pearson, clustered_bootstrap, mean, quantile

if TYPE_CHECKING:
    from pandas import DataFrame

Scorer = Callable[[str, Sequence[str]], float]
_REFERENCE_EVERY = 10  # requests
_STAGES = ("vision_ms", "prefill_ms", "controller_ms", "decode_ms", "preprocess_ms")


def evaluate_cell(
    engine: Engine,
    samples: Sequence[Sample],
    controller: Controller,
    *,
    dataset: str,
    style: str | None,
    scorer: Scorer,
    budget: Budget,
    reference: Mapping,
    full: KnobConfig,
    max_warmup: int,
    max_failed_fraction: float,
    resamples: int,
    seed: int,
) -> tuple["DataFrame", dict]:
    """Runs the cell.

    Args:
        reference: the document that a budget in percent refers to, made on this device with this clock.
        full: the configuration of the reference request: the first sample, timed again and again between the others.

    Returns:
        The rows of the table `evaluation`, and the cell's summary.

    Raises AdaMolmoError when the reference was made elsewhere or too many images are unreadable.
    """
    device = describe_device(engine.device.type)
    check_reference(reference, device, engine.clock.name)
    usable, failed = readable(samples, max_failed_fraction)
    budget_ms = budget.to_ms(reference["median_latency_ms"])
    table, reference_ms = _answer_all(engine, usable, controller, style, scorer, budget_ms, full, max_warmup)
    summary = {
        "dataset": dataset,
        "controller": controller.name,
        "budget": str(budget),
        "feasible": budget_ms >= reference["lowest_median_latency_ms"],
        "failed": failed,
        **summarise(table, budget_ms, resamples, seed),
        "reference_request_ms": median(reference_ms),
        "device": device,
        "clock": engine.clock.name,
    }
    return table, summary


def check_reference(reference: Mapping, device: Mapping, clock: str) -> None:
    """Raises AdaMolmoError when the reference latency comes from another clock, or was measured on another device."""
    for name, found, expected in (("clock", reference["clock"], clock), ("device", reference["device"], device)):
        if found != expected and (name, clock) != ("device", "modelled"):
            raise AdaMolmoError(
                f"the profile's {name} is {found}, but this evaluation's is {expected}; "
                "make the profile and the evaluation on the same device with the same clock."
            )


def _answer_all(
    engine: Engine,
    samples: Sequence[Sample],
    controller: Controller,
    style: str | None,
    scorer: Scorer,
    budget_ms: float,
    full: KnobConfig,
    max_warmup: int,
) -> tuple["DataFrame", list[float]]:
    """The table `evaluation`, and all latencies of the reference request."""
    from pandas import DataFrame

    def ask(sample: Sample) -> Response:
        return engine.answer(sample.open_image(), sample.question, style, controller, budget_ms)

    def time_reference() -> float:
        fixed, first = StaticController(f"static-{full}", full), samples[0]
        return engine.answer(first.open_image(), first.question, style, fixed, budget_ms).stages.total_ms

    if engine.clock.name == "measured":
        warm_up(lambda: ask(samples[0]).stages.total_ms, max_warmup)
    rows, reference_ms = [], []
    label = f"{controller.name} at {budget_ms:.1f} ms, samples"
    for number, sample in enumerate(progress(samples, label, len(samples))):
        if number % _REFERENCE_EVERY == 0:
            reference_ms.append(time_reference())
        response = ask(sample)
        rows.append(
            {
                "sample_id": sample.sample_id,
                "image_id": sample.image_id,
                "prediction": response.answer,
                "accuracy": scorer(response.answer, sample.answers),
                **request_columns(response),
            }
        )
    return DataFrame(rows), reference_ms


def request_columns(response: Response) -> dict:
    """The knobs, stage times and costs of one request, as the columns of a per-sample table."""
    return {
        **vars(response.config),
        "latency_ms": response.stages.total_ms,
        **{stage: getattr(response.stages, stage) for stage in _STAGES},
        "num_crops": response.num_crops,
        "input_tokens": response.input_tokens,
        "output_tokens": response.output_tokens,
        "flops": response.flops,
        "memory_bytes": response.memory_bytes,
    }


def summarise(table: "DataFrame", budget_ms: float, resamples: int, seed: int) -> dict:
    """What the rows of one cell amount to: its accuracy, with a bootstrap interval clustered by image, and what
    `summarise_requests` gives."""
    accuracy = clustered_bootstrap(table["accuracy"], table["image_id"].to_numpy(), mean, resamples, seed)
    return {"accuracy": vars(accuracy), **summarise_requests(table, budget_ms, resamples, seed)}


def summarise_requests(table: "DataFrame", budget_ms: float, resamples: int, seed: int) -> dict:
    """Latency, knobs and costs of the rows, with 95 % intervals: bootstrap clustered by image, Clopper-Pearson for the
    violation rate. A request violates the budget when its latency is above it; its overshoot is the excess in percent
    of the budget, and 0 for a request that keeps it.
    """
    latency_ms = table["latency_ms"].to_numpy(float)
    overshoot_pct = 100 * np.maximum(latency_ms / budget_ms - 1, 0)

    def interval(values, statistic=mean) -> dict:
        return vars(clustered_bootstrap(values, table["image_id"].to_numpy(), statistic, resamples, seed))

    configs = map(KnobConfig, table["tier"], table["top_k"], table["num_active_blocks"])
    quantiles = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {
        "budget_ms": budget_ms,
        "num_samples": len(table),
        "latency_ms": {
            "mean": interval(latency_ms),
            **{name: interval(latency_ms, quantile(q)) for name, q in quantiles.items()},
        },
        "violation_rate": vars(clopper_pearson(int((latency_ms > budget_ms).sum()), len(table))),
        "mean_overshoot_pct": interval(overshoot_pct),
        "knob_counts": dict(sorted(Counter(map(str, configs)).items())),
        "stages_ms": {stage: float(table[stage].mean()) for stage in _STAGES},
        "controller_ms": float(table["controller_ms"].mean()),
        "controller_share_pct": float(100 * table["controller_ms"].sum() / latency_ms.sum()),
        "flops": float(table["flops"].mean()),
        "memory_bytes": int(table["memory_bytes"].max()),
    }
