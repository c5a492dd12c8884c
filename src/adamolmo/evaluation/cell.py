"""One cell of the study: a controller answers a dataset under a budget, one real and timed request per sample."""

from collections.abc import Callable
from functools import partial

from pandas import DataFrame

from adamolmo.controllers.governor import Governor
from adamolmo.data.samples import Questions, Sample
from adamolmo.evaluation.cell_summary import Cell, Timing, check_reference
from adamolmo.files.evaluation import StageMeans
from adamolmo.inference.clock import warm_up
from adamolmo.inference.controller import Controller, Limit
from adamolmo.inference.engine import Engine, Response
from adamolmo.inference.speed_probe import SpeedProbe
from adamolmo.knobs import KnobConfig
from adamolmo.progress import progress
from adamolmo.statistics.intervals import Resampling, median_interval

_PROBE_EVERY = 10  # requests
_FIRST_PROBES = 5  # before the first, to tell how fast the device is today


def evaluate_cell(
    engine: Engine,
    questions: Questions,
    controller: Controller,
    governor: Governor,
    cell: Cell,
    *,
    full: KnobConfig,
    max_warmup: int,
    resampling: Resampling,
) -> tuple[DataFrame, Timing]:
    """Runs the cell: the rows of the table `evaluation`, and what their latencies belong to.

    Args:
        governor: of this cell's requests, which are one stream; it learns from each, but not from warm-up.
        full: the configuration of the speed probe, which a measured cell times between the requests.
        resampling: for the interval of the probe's median.

    Raises AdaMolmoError when the cell's reference was made on another device or with another clock.
    """
    device, clock = engine.device, engine.clock.name
    check_reference(cell.reference, device, clock)

    def ask(sample: Sample, limit: Limit) -> Response:
        return engine.answer(sample.open_image(), sample.question, questions.style, controller, limit)

    probe = None
    if clock == "measured":
        warm_up(lambda: ask(questions.samples[0], governor.limit).stages.total_ms, max_warmup)
        probe = SpeedProbe(engine, full)
        if governor.expected_ms is not None:
            governor.begin_at(probe.median_ms(_FIRST_PROBES) / cell.reference.reference_request_ms.value)
    rows, probes_ms = [], []
    label = f"{controller.name} at {cell.budget_ms:.1f} ms, samples"
    for number, sample in enumerate(progress(questions.samples, label, len(questions.samples))):
        if probe and number % _PROBE_EVERY == 0:
            probes_ms.append(probe.run())
        response, governed = governed_answer(governor, partial(ask, sample))
        rows.append(
            {
                "sample_id": sample.sample_id,
                "image_id": sample.image_id,
                "prediction": response.answer,
                "accuracy": questions.scorer(response.answer, sample.answers),
                **request_columns(response),
                **governed,
            }
        )
    probe_ms = median_interval(probes_ms, resampling) if probes_ms else None
    return DataFrame(rows), Timing(device, clock, probe_ms)


def governed_answer(governor: Governor, ask: Callable[[Limit], Response]) -> tuple[Response, dict]:
    """The answer to the stream's next request, and the columns that say under which limit it was given."""
    limit, state = governor.limit, governor.state
    response = ask(limit)
    latency_ms = response.stages.total_ms
    governor.observe(latency_ms, _expected_ms(governor, response))
    return response, {
        "request": state.requests,
        "margin": state.margin,
        "slowdown": state.slowdown,
        "price_per_ms": limit.price_per_ms,
        "budget_met": latency_ms <= governor.budget_ms,
    }


def _expected_ms(governor: Governor, response: Response) -> float | None:
    """By the profile, with what deciding took; None where it says nothing."""
    expected_ms = governor.expected_ms and governor.expected_ms(
        response.config, response.num_crops, response.input_tokens
    )
    return expected_ms and expected_ms + response.stages.controller_ms


def request_columns(response: Response) -> dict:
    """The knobs, stage times and costs of one request, as the columns of a per-sample table."""
    return {
        **vars(response.config),
        "latency_ms": response.stages.total_ms,
        **{stage: getattr(response.stages, stage) for stage in StageMeans.model_fields},
        "num_crops": response.num_crops,
        "input_tokens": response.input_tokens,
        "output_tokens": response.output_tokens,
        "flops": response.flops,
        "memory_bytes": response.memory_bytes,
        "network_decided": response.network_decided,
        "energy_j": response.energy_j,
    }
