"""What one cell of the study amounts to: its rows, the budget and the profile's reference."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pandas import DataFrame, Series

from adamolmo.budgets import Budget
from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.serving import tpot_ms, ttft_ms
from adamolmo.files.core_exp import Reference
from adamolmo.files.documents import Failed
from adamolmo.files.evaluation import CellSummary, LatencySummary, Percentiles, RequestSummary, StageMeans
from adamolmo.files.governor import GovernedStream
from adamolmo.knobs import KnobConfig
from adamolmo.statistics.interval import Interval
from adamolmo.statistics.intervals import (
    Resampling,
    clopper_pearson,
    clustered_bootstrap,
    mean,
    quantile,
    ratio_interval,
)


@dataclass(frozen=True)
class Cell:
    """Which controller, by name, answers which dataset under which budget.

    Attributes:
        reference: what the profile says: the latency that a budget in percent refers to, the lowest of all, and how
            long its speed probe took.
    """

    dataset: str
    controller: str
    budget: Budget
    reference: Reference

    @property
    def budget_ms(self) -> float:
        return self.budget.to_ms(self.reference.median_latency_ms)


@dataclass(frozen=True)
class Timing:
    """What the latencies of a cell belong to.

    Attributes:
        device: as `describe_device` says.
        clock: "measured" or "modelled".
        probe_ms: how long the speed probe took this time; None with the modelled clock.
    """

    device: Mapping
    clock: str
    probe_ms: Interval | None


def check_reference(reference: Reference, device: Mapping, clock: str) -> None:
    """Raises AdaMolmoError when the reference latency comes from another clock, or was measured on another device."""
    for name, found, expected in (("clock", reference.clock, clock), ("device", reference.device, device)):
        if found != expected and (name, clock) != ("device", "modelled"):
            raise AdaMolmoError(
                f"the profile's {name} is {found}, but this evaluation's is {expected}; "
                "make the profile and the evaluation on the same device with the same clock."
            )


def summarise_cell(
    cell: Cell,
    table: DataFrame,
    timing: Timing,
    governor: GovernedStream | None,
    failed: Sequence[Mapping],
    resampling: Resampling,
) -> CellSummary:
    """Of the rows of one table `evaluation`.

    Args:
        governor: what became of it; None without one.
        failed: unreadable samples, {sample_id, reason}.

    Accuracy and goodput have bootstrap intervals clustered by image. The slowdown is the ratio of the speed probe's two
    times; the violation rate at the profile's speed is that of the latencies divided by it, as if everything slowed
    down alike. The intervals of both go as far as those of what they are made from allow.
    """
    slowdown = _slowdown(timing.probe_ms, cell.reference.reference_request_ms)
    images, on_time = table["image_id"].to_numpy(), table["latency_ms"] <= cell.budget_ms
    score_on_time = table["accuracy"].where(on_time, 0.0)
    energy_j = _known_energy_j(table)
    return CellSummary(
        **dict(summarise_requests(table, cell.budget_ms, resampling)),
        dataset=cell.dataset,
        controller=cell.controller,
        budget=str(cell.budget),
        feasible=cell.budget_ms >= cell.reference.lowest_median_latency_ms,
        failed=tuple(Failed(**entry) for entry in failed),
        accuracy=clustered_bootstrap(table["accuracy"], images, mean, resampling),
        goodput=clustered_bootstrap(score_on_time, images, mean, resampling),
        goodput_per_s=ratio_interval(score_on_time, table["latency_ms"] / 1000, images, resampling),
        joules_per_right_answer=None
        if energy_j is None
        else ratio_interval(energy_j, table["accuracy"], images, resampling),
        slowdown=slowdown,
        violation_rate_at_profile_speed=_at_profile_speed(table, slowdown, cell.budget_ms),
        governor=governor,
        device=timing.device,
        clock=timing.clock,
    )


def summarise_requests(table: DataFrame, budget_ms: float, resampling: Resampling) -> RequestSummary:
    """Latency, knobs and costs of the rows, with 95 % intervals: bootstrap clustered by image, Clopper-Pearson for the
    violation rate. A request violates the budget when its latency is above it; its overshoot is the excess in percent
    of the budget, and 0 for a request that keeps it.
    """
    latency_ms = table["latency_ms"].to_numpy(float)
    overshoot_pct = 100 * np.maximum(latency_ms / budget_ms - 1, 0)

    def interval(values, statistic=mean) -> Interval:
        return clustered_bootstrap(values, table["image_id"].to_numpy(), statistic, resampling)

    energy_j = _known_energy_j(table)
    configs = map(KnobConfig, table["tier"], table["top_k"], table["num_active_blocks"])
    quantiles = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return RequestSummary(
        budget_ms=budget_ms,
        num_samples=len(table),
        latency_ms=LatencySummary(
            mean=interval(latency_ms),
            **{name: interval(latency_ms, quantile(q)) for name, q in quantiles.items()},
        ),
        violation_rate=_violation_rate(latency_ms, budget_ms),
        mean_overshoot_pct=interval(overshoot_pct),
        ttft_ms=_percentiles(ttft_ms(table), table, resampling),
        tpot_ms=_percentiles(tpot_ms(table, table["output_tokens"]), table, resampling),
        joules_per_answer=None if energy_j is None else interval(energy_j),
        knob_counts=dict(sorted(Counter(map(str, configs)).items())),
        stages_ms=StageMeans(**{stage: float(table[stage].mean()) for stage in StageMeans.model_fields}),
        controller_ms=float(table["controller_ms"].mean()),
        controller_share_pct=float(100 * table["controller_ms"].sum() / latency_ms.sum()),
        flops=float(table["flops"].mean()),
        memory_bytes=int(table["memory_bytes"].max()),
    )


def _percentiles(values: Series, table: DataFrame, resampling: Resampling) -> Percentiles | None:
    """Of the rows that have a value; None if none has."""
    known = values.notna()
    if not known.any():
        return None
    images = table.loc[known, "image_id"].to_numpy()
    p50, p95 = (clustered_bootstrap(values[known], images, quantile(q), resampling) for q in (0.5, 0.95))
    return Percentiles(p50=p50, p95=p95)


def _known_energy_j(table: DataFrame) -> Series | None:
    """Of every request; None if there is no counter, or it did not move in any of them."""
    energy_j = table["energy_j"].astype(float)
    return energy_j if energy_j.sum(skipna=False) > 0 else None


def _violation_rate(latency_ms: np.ndarray, budget_ms: float) -> Interval:
    return clopper_pearson(int((latency_ms > budget_ms).sum()), len(latency_ms))


def _slowdown(now: Interval | None, then: Interval | None) -> Interval:
    """Of the speed probe's times now and during the profile."""
    if now is None:
        return Interval(1.0, 1.0, 1.0)
    return Interval(now.value / then.value, now.low / then.high, now.high / then.low)


def _at_profile_speed(table: DataFrame, slowdown: Interval, budget_ms: float) -> Interval:
    latency_ms = table["latency_ms"].to_numpy(float)
    value, low, high = (
        _violation_rate(latency_ms / ratio, budget_ms) for ratio in (slowdown.value, slowdown.high, slowdown.low)
    )
    return Interval(value.value, low.low, high.high)
