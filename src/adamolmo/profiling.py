"""The profile of a dataset: every knob configuration's answer, score and latency on every sample.

Two passes. The accuracy pass answers in batches, with the work that configurations share done once. The latency pass
sends single requests through the engine for some of the samples; it must give the same answers. The latency of the
other samples is estimated (`latency_model.py`). With the modelled clock every latency is computed instead.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from adamolmo.controllers.static import StaticController
from adamolmo.data.samples import Sample, check_failures, readable
from adamolmo.engine import Engine, Response
from adamolmo.errors import AdaMolmoError
from adamolmo.grid import answer_grid, batches_by_length
from adamolmo.knobs import KnobConfig
from adamolmo.latency import StageTimes, describe_device, modelled_ms, warm_up
from adamolmo.latency_model import KNOBS, STAGES, StageModel, held_out_error_pct
from adamolmo.progress import note, progress

if TYPE_CHECKING:
    from pandas import DataFrame

Scorer = Callable[[str, Sequence[str]], float]
KEY = ["sample_id", *KNOBS]

# Rounding differs between a batch and a single request, so a tie may break the other way now and then; more than this
# means that another model was timed than was scored.
_LEAST_AGREEMENT = 0.98


@dataclass(frozen=True)
class Timing:
    """How latency is measured.

    Attributes:
        samples: how many samples are timed; "all" for every one.
        repeats: runs of each (sample, configuration), of which the median counts.
        max_warmup: warm-up runs at most.
        drift_limit_pct: a device that drifts more during the pass is reported.
    """

    samples: int | Literal["all"]
    repeats: int
    max_warmup: int
    drift_limit_pct: float


def profile_dataset(
    engine: Engine,
    samples: Sequence[Sample],
    *,
    dataset: str,
    style: str | None,
    scorer: Scorer,
    configs: Sequence[KnobConfig],
    reference: KnobConfig,
    batch_size: int,
    timing: Timing,
    max_failed_fraction: float,
    seed: int,
) -> tuple["DataFrame", dict]:
    """Profiles any subset of a dataset's samples; `merge_profiles` joins several.

    Args:
        reference: the configuration that warms up and is timed again and again to see the device drift.

    Returns:
        The rows of the table `core_exp`, and its metadata: device, clock, num_samples, num_timed, failed
        [{sample_id, reason}], drift_pct, drift_limit_pct, estimate_error_pct, answer_agreement. The last four are None
        where nothing was timed.

    Raises AdaMolmoError when too many images are unreadable, or timed and scored answers disagree.
    """
    usable, failed = readable(samples, max_failed_fraction)
    table = accuracy_pass(engine, usable, style, scorer, configs, batch_size)
    table.insert(0, "dataset", dataset)
    metadata = {
        "device": describe_device(engine.device.type),
        "clock": engine.clock.name,
        "num_samples": len(usable),
        "failed": failed,
    }
    if engine.clock.name == "modelled":
        table, measured = table.assign(latency_iqr_ms=0.0, latency_source="modelled"), _NOTHING_MEASURED
    else:
        timed_samples = choose_samples(usable, timing.samples, seed)
        timed, drift_pct = latency_pass(engine, timed_samples, style, configs, reference, timing, seed)
        table, measured = add_latencies(table, timed)
        measured |= {"num_timed": len(timed_samples), "drift_pct": drift_pct, "drift_limit_pct": timing.drift_limit_pct}
    table[STAGES] = table[STAGES].astype("float32")
    return table.drop(columns="decode_steps").assign(latency_ms=table[STAGES].sum(axis=1)), metadata | measured


_NOTHING_MEASURED = {
    "num_timed": 0,
    "drift_pct": None,
    "drift_limit_pct": None,
    "estimate_error_pct": None,
    "answer_agreement": None,
}


def accuracy_pass(
    engine: Engine,
    samples: Sequence[Sample],
    style: str | None,
    scorer: Scorer,
    configs: Sequence[KnobConfig],
    batch_size: int,
) -> "DataFrame":
    """Answers, scores, sizes and analytic costs (also the modelled stage times), one row per (sample, config)."""
    from pandas import DataFrame

    modelled = _modelled_costs(engine)
    rows = []
    for tier in dict.fromkeys(config.tier for config in configs):
        settings = {config: engine.decoder_knobs(config) for config in configs if config.tier == tier}
        batches = batches_by_length(engine, samples, style, tier, batch_size)
        for batch in progress(batches, f"accuracy, tier {tier}, batches", len(batches)):
            chosen = [samples[index] for index in batch]
            inputs = [engine.prepare(sample.open_image(), sample.question, style, tier) for sample in chosen]
            for config, answers in answer_grid(engine, inputs, settings).items():
                for sample, row, tokens in zip(chosen, inputs, answers, strict=True):
                    answer = engine.decode_answer(tokens)
                    sizes = row.pixels.shape[1], row.input_ids.shape[1], len(tokens)
                    rows.append(
                        {
                            "sample_id": sample.sample_id,
                            "image_id": sample.image_id,
                            **vars(config),
                            "prediction": answer,
                            "accuracy": scorer(answer, sample.answers),
                            **dict(zip(("num_crops", "input_tokens", "output_tokens"), sizes, strict=True)),
                            **modelled(config, *sizes),
                        }
                    )
    return DataFrame(rows)


def _modelled_costs(engine: Engine) -> Callable[..., Mapping]:
    """Requests of the same size cost the same, so each size is computed once."""

    @cache
    def costs(config: KnobConfig, num_crops: int, input_tokens: int, output_tokens: int) -> dict:
        knobs = engine.decoder_knobs(config)
        decode_steps = engine.decode_steps(output_tokens)
        stages = engine.costs.request(num_crops, input_tokens, decode_steps, knobs)
        return {
            **{f"{stage}_ms": modelled_ms(cost) for stage, cost in stages.items()},
            "decode_steps": decode_steps,
            "flops": sum(cost.flops for cost in stages.values()),
            "memory_bytes": engine.costs.memory_bytes(num_crops, input_tokens, engine.max_new_tokens, knobs.top_k),
        }

    return costs


def choose_samples(samples: Sequence[Sample], count: int | Literal["all"], seed: int) -> list[Sample]:
    """A random choice, the same for the same seed."""
    if count == "all" or count >= len(samples):
        return list(samples)
    chosen = np.random.default_rng(seed).choice(len(samples), size=count, replace=False)
    return [samples[index] for index in sorted(chosen)]


def latency_pass(
    engine: Engine,
    samples: Sequence[Sample],
    style: str | None,
    configs: Sequence[KnobConfig],
    reference: KnobConfig,
    timing: Timing,
    seed: int,
) -> tuple["DataFrame", float]:
    """Times single requests.

    Within a sample each round runs all configurations in a new random order, so that what changes on the device hits
    all alike; after each round the reference runs on the first sample.

    Returns:
        One row per (sample, config) with the stage times of the run whose total is the median, the interquartile range
        of the totals, the answer and the memory; and the drift of the reference in percent.
    """
    from pandas import DataFrame

    first_image = samples[0].open_image()

    def run_reference() -> float:
        return _ask(engine, first_image, samples[0].question, style, reference).stages.total_ms

    warm_up(run_reference, timing.max_warmup)
    rng = np.random.default_rng(seed)
    rows, reference_ms = [], []
    for sample in progress(samples, "latency, samples", len(samples)):
        image = sample.open_image()
        runs: dict[KnobConfig, list[Response]] = {config: [] for config in configs}
        for _ in range(timing.repeats):
            for index in rng.permutation(len(configs)):
                runs[configs[index]].append(_ask(engine, image, sample.question, style, configs[index]))
            reference_ms.append(run_reference())
        rows += [{"sample_id": sample.sample_id, **vars(config), **_summarise_runs(runs[config])} for config in configs]
    drift_pct = drift(reference_ms)
    if drift_pct > timing.drift_limit_pct:
        note(f"latency drifted by {drift_pct:.1f} % during the pass (limit {timing.drift_limit_pct:g} %): busy device?")
    return DataFrame(rows), drift_pct


def _ask(engine: Engine, image, question: str, style: str | None, config: KnobConfig) -> Response:
    return engine.answer(image, question, style, StaticController(f"static-{config}", config), budget_ms=float("inf"))


def _summarise_runs(runs: list[Response]) -> dict:
    """Stages of the median run (of an even number, the faster of the two in the middle), so that they sum to it."""
    in_order = sorted(runs, key=lambda run: _stage_sum(run.stages))
    median = in_order[(len(in_order) - 1) // 2]
    low, high = np.quantile([_stage_sum(run.stages) for run in in_order], [0.25, 0.75])
    return {
        **{stage: getattr(median.stages, stage) for stage in STAGES},
        "latency_iqr_ms": high - low,
        "timed_answer": median.answer,
        "memory_bytes": max(run.memory_bytes for run in runs),
    }


def _stage_sum(stages: StageTimes) -> float:
    """The latency of a fixed configuration, to which no controller belongs."""
    return stages.vision_ms + stages.prefill_ms + stages.decode_ms


def drift(reference_ms: Sequence[float], parts: int = 4) -> float:
    """How far the medians of successive parts of a pass lie apart, in percent of the lowest."""
    medians = [np.median(part) for part in np.array_split(reference_ms, min(parts, len(reference_ms)))]
    return float(100 * (max(medians) / min(medians) - 1))


def add_latencies(table: "DataFrame", timed: "DataFrame") -> tuple["DataFrame", dict]:
    """Measured stage times where there are some, estimates elsewhere.

    Returns the table with the columns latency_iqr_ms (0 unless measured) and latency_source, and the metadata
    estimate_error_pct and answer_agreement. Raises AdaMolmoError when answers disagree.
    """
    table = table.set_index(KEY)
    timed = timed.set_index(KEY)
    agreement = float((timed["timed_answer"] == table.loc[timed.index, "prediction"]).mean())
    if agreement < _LEAST_AGREEMENT:
        raise AdaMolmoError(
            f"only {100 * agreement:.1f} % of the timed runs gave the scored answer; expected at least "
            f"{100 * _LEAST_AGREEMENT:g} %, so the latencies do not belong to these answers."
        )
    timed = timed.drop(columns="timed_answer").join(table[["num_crops", "input_tokens", "decode_steps"]])
    table = table.assign(latency_iqr_ms=0.0, latency_source="estimated")
    flat = table.reset_index()
    table[STAGES] = StageModel(timed.reset_index()).predict(flat).to_numpy()
    columns = [*STAGES, "latency_iqr_ms", "memory_bytes"]
    table.loc[timed.index, columns] = timed[columns]
    table.loc[timed.index, "latency_source"] = "measured"
    metadata = {"estimate_error_pct": held_out_error_pct(timed.reset_index()), "answer_agreement": agreement}
    return table.reset_index(), metadata


def merge_profiles(
    parts: Sequence[tuple["DataFrame", dict]], max_failed_fraction: float = 1.0
) -> tuple["DataFrame", dict]:
    """One profile of several made from different samples (or tiers) of a dataset.

    Of the quality measures the worst is kept. Raises AdaMolmoError when the parts were made on different devices, with
    different clocks or models, or too many samples failed in all.
    """
    from pandas import concat

    tables, metadata = zip(*parts, strict=True)
    merged = dict(metadata[0])
    for part in metadata[1:]:
        for key in merged.keys() - _MERGED.keys() - {"num_samples"}:
            if part[key] != merged[key]:
                raise AdaMolmoError(
                    f"profiles with {key} {merged[key]} and {part[key]} cannot be merged; expected the same in all."
                )
    for key, combine in _MERGED.items():
        values = [part[key] for part in metadata if part[key] is not None]
        merged[key] = combine(values) if values else None
    table = concat(tables, ignore_index=True)
    merged["num_samples"] = table["sample_id"].nunique()
    check_failures(merged["failed"], merged["num_samples"] + len(merged["failed"]), max_failed_fraction)
    return table, merged


def _all_failed(parts: list[list[dict]]) -> list[dict]:
    unique = {failed["sample_id"]: failed for part in parts for failed in part}
    return [unique[sample_id] for sample_id in sorted(unique)]


_MERGED = {
    "failed": _all_failed,
    "num_timed": sum,
    "drift_pct": max,
    "estimate_error_pct": max,
    "answer_agreement": min,
}


def reference_latency(table: "DataFrame", metadata: Mapping, reference: KnobConfig) -> dict:
    """What budgets in percent refer to: the median latency of the reference configuration, and the lowest of any."""
    medians_ms = table.groupby(KNOBS, observed=True)["latency_ms"].median()
    key = tuple(vars(reference).values())
    if key not in medians_ms.index:
        raise AdaMolmoError(f"the profile has no rows of {reference}; expected the reference configuration in it.")
    return {
        "config": str(reference),
        "median_latency_ms": float(medians_ms[key]),
        "lowest_median_latency_ms": float(medians_ms.min()),
        "device": metadata["device"],
        "clock": metadata["clock"],
    }
