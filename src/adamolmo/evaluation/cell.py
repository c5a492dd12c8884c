"""One cell of the study: a controller answers a dataset under a budget, one real and timed request per sample."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from adamolmo.budgets import Budget
from adamolmo.data.samples import Sample, readable
from adamolmo.evaluation.cell_summary import STAGES, check_reference, summarise_cell
from adamolmo.inference.clock import warm_up
from adamolmo.inference.controller import Controller
from adamolmo.inference.device import describe_device
from adamolmo.inference.engine import Engine, Response
from adamolmo.inference.speed_probe import SpeedProbe
from adamolmo.knobs import KnobConfig
from adamolmo.progress import progress
from adamolmo.statistics.intervals import median_interval

if TYPE_CHECKING:
    from pandas import DataFrame

Scorer = Callable[[str, Sequence[str]], float]
_REFERENCE_EVERY = 10  # requests


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
        reference: the profile's document of that name, made on this device with this clock.
        full: the configuration of the reference request, which a measured cell times between the others.

    Returns:
        The rows of the table `evaluation`, and the cell's summary.

    Raises AdaMolmoError when the reference was made elsewhere or too many images are unreadable.
    """
    device = describe_device(engine.device.type)
    check_reference(reference, device, engine.clock.name)
    usable, failed = readable(samples, max_failed_fraction)
    budget_ms = budget.to_ms(reference["median_latency_ms"])
    table, reference_ms = _answer_all(engine, usable, controller, style, scorer, budget_ms, full, max_warmup)
    summary = summarise_cell(
        table,
        dataset=dataset,
        controller=controller.name,
        budget=budget,
        reference=reference,
        reference_request_ms=vars(median_interval(reference_ms, resamples, seed)) if reference_ms else None,
        failed=failed,
        device=device,
        clock=engine.clock.name,
        resamples=resamples,
        seed=seed,
    )
    return table, summary


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
    """The table `evaluation`, and all latencies of the reference request: none with the modelled clock."""
    from pandas import DataFrame

    def ask(sample: Sample) -> Response:
        return engine.answer(sample.open_image(), sample.question, style, controller, budget_ms)

    reference = None
    if engine.clock.name == "measured":
        warm_up(lambda: ask(samples[0]).stages.total_ms, max_warmup)
        reference = SpeedProbe(engine, full)
    rows, reference_ms = [], []
    label = f"{controller.name} at {budget_ms:.1f} ms, samples"
    for number, sample in enumerate(progress(samples, label, len(samples))):
        if reference and number % _REFERENCE_EVERY == 0:
            reference_ms.append(reference.run())
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
        **{stage: getattr(response.stages, stage) for stage in STAGES},
        "num_crops": response.num_crops,
        "input_tokens": response.input_tokens,
        "output_tokens": response.output_tokens,
        "flops": response.flops,
        "memory_bytes": response.memory_bytes,
    }
