"""Plausible results of a study, made up: 8 controllers x 3 datasets x 5 budgets, full config about 35 ms.

The learned controller is better than the tables, and those with one knob break promises that their knob cannot keep.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
from made_documents import importance

from adamolmo.budgets import ALLOWED_LATE, KINDS, PER_REQUEST, Budget, kind_of
from adamolmo.controllers.roles import ORACLE, heeds_budget
from adamolmo.evaluation.equal_latency import concave_hull
from adamolmo.evaluation.outcomes import ALL_DATASETS
from adamolmo.files.comparisons import PROMISES
from adamolmo.files.documents import sealed
from adamolmo.files.importance import DatasetImportance, Importance
from adamolmo.knobs import KnobConfig
from adamolmo.statistics.intervals import clopper_pearson

DATASETS = ("coco_2014_vqa", "okvqa", "text_vqa")
TIERS, TOP_K, BLOCKS = ("low", "medium", "high"), (4, 5, 6, 7, 8), (12, 13, 14, 15, 16)
BUDGETS = ("25pct", "45pct", "60pct", "80pct", "105pct")  # the first is met by no config, the last by every one
BUDGETS_OF_ALL_KINDS = (
    *("45pct", "60pct", "80pct", "105pct"),
    *("45pct-p95", "60pct-p95", "80pct-p95"),
    *("40pct-mean", "50pct-mean", "65pct-mean", "80pct-mean"),
)
CONTROLLERS = (
    "static-full",
    "lookup-mean",
    "lookup-median",
    "lookup-max_accuracy",
    "tier-only",
    "topk-only",
    "blocks-only",
    "two-stage-budget",
)
DEVICE = {"name": "a made-up processor", "threads": 1}
_TIER_ACCURACY = {"coco_2014_vqa": (0.70, 0.80, 0.84), "okvqa": (0.80, 0.88, 0.90), "text_vqa": (0.22, 0.46, 0.63)}
_LOSS = {"lookup-median": 0.006, "lookup-max_accuracy": 0.03, "two-stage-budget": -0.015, "oracle": -0.08}
_TAIL = 1.15  # the 95th percentile of the latency in shares of its mean
_OVERHEAD_MS = {"static-full": 0.002, "two-stage-budget": 0.7, "oracle": 0.0}


def stages(config: KnobConfig) -> np.ndarray:
    """Milliseconds of vision, prefill, decode."""
    tier, k, b = TIERS.index(config.tier), config.top_k, config.num_active_blocks
    prefill = (3.2, 5.2, 11.5)[tier] * (0.55 + 0.45 * k / 8) * b / 16
    return np.array([(2.0, 4.2, 11.0)[tier], prefill, 11.5 * (0.7 + 0.3 * k / 8) * b / 16])


def accuracy(dataset: str, config: KnobConfig) -> float:
    lost = 0.012 * (8 - config.top_k) + 0.014 * (16 - config.num_active_blocks)
    return _TIER_ACCURACY[dataset][TIERS.index(config.tier)] - lost


def profile(samples: int = 250, seed: int = 0) -> pd.DataFrame:
    """core_exp rows of all datasets."""
    rng = np.random.default_rng(seed)
    grid = [(dataset, KnobConfig(t, k, b)) for dataset in DATASETS for t in TIERS for k in TOP_K for b in BLOCKS]
    times = np.stack([stages(config) for _, config in grid])[:, None] * rng.gamma(60, 1 / 60, (len(grid), samples, 3))
    hits = [round(samples * accuracy(dataset, config) + rng.normal(0, 0.3)) for dataset, config in grid]
    right = rng.permuted(np.arange(samples) < np.array(hits)[:, None], axis=1)
    each = np.repeat(np.arange(len(grid)), samples)
    configs = [config for _, config in grid]
    return pd.DataFrame(
        {
            "dataset": np.array([dataset for dataset, _ in grid])[each],
            "sample_id": np.tile(np.char.mod("%d", np.arange(samples)), len(grid)),
            "image_id": np.tile(np.char.mod("%d", np.arange(samples) // 3), len(grid)),
            "tier": np.array([config.tier for config in configs])[each],
            "top_k": np.array([config.top_k for config in configs])[each],
            "num_active_blocks": np.array([config.num_active_blocks for config in configs])[each],
            "accuracy": right.ravel().astype(float),
            "latency_ms": times.sum(axis=-1).ravel(),
            "vision_ms": times[..., 0].ravel(),
            "prefill_ms": times[..., 1].ravel(),
            "decode_ms": times[..., 2].ravel(),
            "latency_iqr_ms": (times.sum(axis=-1) * rng.gamma(2, 0.01, times.shape[:2])).ravel(),
            "latency_source": np.where(np.tile(np.arange(samples) % 3 == 0, len(grid)), "measured", "estimated"),
        }
    )


def choose(controller: str, dataset: str, budget_ms: float) -> KnobConfig:
    """The most accurate config that the controller may use and that meets the budget; else the cheapest it has."""
    kept = {
        "static-full": lambda c: str(c) == "high-k8-b16",
        "tier-only": lambda c: str(c).endswith("k8-b16"),
        "topk-only": lambda c: (c.tier, c.num_active_blocks) == ("high", 16),
        "blocks-only": lambda c: (c.tier, c.top_k) == ("high", 8),
    }.get(controller, lambda c: True)
    candidates = [c for c in (KnobConfig(t, k, b) for t in TIERS for k in TOP_K for b in BLOCKS) if kept(c)]
    met = [c for c in candidates if stages(c).sum() <= budget_ms]
    return max(met, key=lambda c: accuracy(dataset, c)) if met else min(candidates, key=lambda c: stages(c).sum())


def cell(dataset: str, controller: str, budget: str, samples: int = 300) -> dict:
    """The JSON content of one evaluated cell."""
    rng = np.random.default_rng([ord(letter) for letter in dataset + controller + budget])
    budget_ms = Budget.parse(budget).to_ms(stages(KnobConfig("high", 8, 16)).sum())
    promised = ALLOWED_LATE.get(kind_of(budget))
    config = choose(controller, dataset, budget_ms if promised is None else budget_ms / _TAIL)
    overhead = _OVERHEAD_MS.get(controller, 0.03) * rng.uniform(0.8, 1.2)
    times = dict(zip(("vision_ms", "prefill_ms", "decode_ms"), stages(config).tolist(), strict=True))
    latency = sum(times.values()) + overhead + rng.normal(0, 0.15)
    ttft = times["vision_ms"] + times["prefill_ms"] + overhead
    value = float(np.clip(accuracy(dataset, config) - _LOSS.get(controller, 0.0) + rng.normal(0, 0.006), 0, 1))
    late = np.clip(0.5 + 6 * (latency / budget_ms - 1.0), 0.004, 1)
    if promised is not None and latency <= 1.02 * budget_ms / _TAIL and heeds_budget(controller):
        late = 0.9 * promised
    rate = clopper_pearson(int(rng.binomial(samples, late)), samples)
    other = KnobConfig(config.tier, max(config.top_k - 1, 4), config.num_active_blocks)
    counts = {str(config): 230, str(other): 70} if controller == "two-stage-budget" and other != config else {}
    return {
        "dataset": dataset,
        "controller": controller,
        "budget": budget,
        "budget_ms": budget_ms,
        "num_samples": samples,
        "failed": [],
        "feasible": bool(stages(KnobConfig("low", 4, 12)).sum() <= budget_ms),
        "accuracy": _interval(value, 0.035),
        "goodput": _interval(value * (1 - rate.value), 0.03),
        "latency_ms": {
            "mean": _interval(latency, 0.2),
            "p50": _interval(latency, 0.3),
            "p95": _interval(1.15 * latency, 0.5),
            "p99": _interval(1.3 * latency, 0.9),
        },
        "violation_rate": {"value": rate.value, "low": rate.low, "high": rate.high},
        "mean_overshoot_pct": _interval(max(0.0, 100 * (latency / budget_ms - 1)), 0.5),
        "knob_counts": counts or {str(config): samples},
        "stages_ms": times | {"controller_ms": overhead, "preprocess_ms": 2.5},
        "ttft_ms": {"p50": _interval(ttft, 0.2), "p95": _interval(1.15 * ttft, 0.4)},
        "tpot_ms": {"p50": _interval(times["decode_ms"] / 2, 0.2), "p95": _interval(times["decode_ms"], 0.4)},
        "goodput_per_s": _interval(1000 * value * (1 - rate.value) / latency, 0.9),
        "joules_per_answer": None,
        "joules_per_right_answer": None,
        "controller_ms": overhead,
        "controller_share_pct": 100 * overhead / latency,
        "governor": dict.fromkeys(("start", "end"), {"requests": 0, "margin": 0.0, "slowdown": 1.0}),
        "slowdown": {"value": 1.0, "low": 1.0, "high": 1.0},
        "violation_rate_at_profile_speed": {"value": rate.value, "low": rate.low, "high": rate.high},
        "flops": 1e8,
        "memory_bytes": 30_000_000,
        "device": DEVICE,
        "clock": "measured",
    }


def write_cells(folder: Path, controllers: Sequence[str] = CONTROLLERS, budgets: Sequence[str] = BUDGETS) -> list[Path]:
    """All cells of the study as the evaluation writes them."""
    paths = []
    for dataset in DATASETS:
        for controller in controllers:
            for budget in budgets:
                path = folder / dataset / controller / f"{budget}.json"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(sealed(cell(dataset, controller, budget))))
                paths.append(path)
    return paths


def pooled(summary: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """Means of every controller of each dataset and of all, at every budget and over the feasible ones of each kind."""
    keys, measures = ["dataset", "budget", "controller"], list(measures)
    kinds = summary.assign(budget=summary["budget"].map(kind_of))
    any_feasible = kinds.groupby(keys)["feasible"].transform("any")
    of_kinds = kinds[kinds["feasible"] | ~any_feasible].groupby(keys)[measures].mean().reset_index()
    each = pd.concat([summary[[*keys, *measures]], of_kinds], ignore_index=True)
    if summary["dataset"].nunique() == 1:
        return each
    everywhere = each.groupby(keys[1:])[measures].mean().reset_index().assign(dataset=ALL_DATASETS)
    return pd.concat([each, everywhere], ignore_index=True)


def comparisons(summary: pd.DataFrame) -> pd.DataFrame:
    """Every pair of controllers; differences whose interval leaves out zero count as shown."""
    rows, measures = [], ["accuracy", "goodput", "violation_rate", "latency_mean_ms"]
    for (dataset, budget), cell in pooled(summary, measures).groupby(["dataset", "budget"]):
        half = _half_width(budget)
        for one, other in permutations(cell.itertuples(), 2):
            accuracy_gain, goodput_gain = one.accuracy - other.accuracy, one.goodput - other.goodput
            rows.append(
                {
                    "dataset": dataset,
                    "budget": budget,
                    "controller": one.controller,
                    "other": other.controller,
                    **_around("accuracy_gain", accuracy_gain, half),
                    "accuracy_p": _p(accuracy_gain, half),
                    **_around("goodput_gain", goodput_gain, half),
                    "goodput_p": _p(goodput_gain, half),
                    **_around("violation_change", one.violation_rate - other.violation_rate, 0.05),
                    **_around("latency_change_ms", one.latency_mean_ms - other.latency_mean_ms, 0.5),
                }
            )
    return pd.DataFrame(rows)


def equal_latency(summary: pd.DataFrame) -> pd.DataFrame:
    """Every controller against the best static mixture of its mean latency."""
    configs = [KnobConfig(t, k, b) for t in TIERS for k in TOP_K for b in BLOCKS]
    ms = np.array([stages(config).sum() for config in configs])
    of_mixture = []
    for cell in summary.itertuples():
        reached = np.array([accuracy(cell.dataset, config) for config in configs])
        hull = concave_hull(ms, reached)
        of_mixture.append(np.interp(cell.latency_mean_ms, ms[hull], reached[hull]))
    rows = pooled(summary.assign(mixture=of_mixture), ["accuracy", "mixture", "latency_mean_ms"])
    found = [
        {
            "dataset": row.dataset,
            "controller": row.controller,
            "budget": row.budget,
            "latency_ms": row.latency_mean_ms,
            "mixture_accuracy": row.mixture,
            **_around("gain", row.accuracy - row.mixture, _half_width(row.budget)),
            "gain_p": _p(row.accuracy - row.mixture, _half_width(row.budget)),
        }
        for row in rows.itertuples()
    ]
    return pd.DataFrame(found)


def promises(summary: pd.DataFrame) -> pd.DataFrame:
    """What budgets promised and what was found, of the controllers that heed them."""
    used = summary.assign(used=summary["latency_mean_ms"] / summary["budget_ms"])
    rows = []
    for row in pooled(used, ["violation_rate", "used"]).itertuples():
        kind = kind_of(row.budget)
        if kind == PER_REQUEST or row.controller == ORACLE or not heeds_budget(row.controller):
            continue
        promised, found = (1.0, row.used) if kind == "mean" else (ALLOWED_LATE[kind], row.violation_rate)
        interval = _around("found", found, 0.4 * _half_width(row.budget))
        keys = {"dataset": row.dataset, "controller": row.controller, "budget": row.budget, "promised": promised}
        interval["found_low"] = max(0.0, interval["found_low"])
        rows.append(keys | interval | {"broken": interval["found_low"] > promised})
    return pd.DataFrame(rows, columns=list(PROMISES.columns))


def _half_width(budget: str) -> float:
    """Of an interval at one budget, or over all of a kind."""
    return 0.008 if budget in KINDS else 0.02


def _around(name: str, value: float, half: float) -> dict[str, float]:
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}


def _p(gain: float, half: float) -> float:
    return 0.0001 if abs(gain) > half else 0.5


def streams(summary: pd.DataFrame, requests: int = 60) -> pd.DataFrame:
    """Of every dataset and controller of the summary the requests under two promised budgets."""
    rng, tables = np.random.default_rng(5), []
    budgets = summary["budget"].unique()
    for cell in summary[~summary["controller"].isin(["static-full", "oracle"])].itertuples():
        for budget in {budgets[0]: ["60pct-p95", "60pct-mean"]}.get(cell.budget, []):
            latency_ms = cell.budget_ms * rng.uniform(0.5, 1.04, requests)
            columns = {"request": range(requests), "margin": 0.05 + 0.02 * rng.normal(size=requests).cumsum()}
            columns |= {"slowdown": 1.1 + 0.01 * rng.normal(size=requests).cumsum(), "latency_ms": latency_ms}
            columns |= {"budget_met": latency_ms <= cell.budget_ms}
            keys = {
                "dataset": cell.dataset,
                "controller": cell.controller,
                "budget": budget,
                "budget_ms": cell.budget_ms,
            }
            tables.append(pd.DataFrame(columns | keys))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["controller", "budget"])


def hypervolumes(summary: pd.DataFrame) -> pd.DataFrame:
    table = summary.groupby(["dataset", "controller"], as_index=False)["accuracy"].mean()
    area = 0.6 * table["accuracy"]
    base = table["dataset"].map(table[table["controller"] == "lookup-mean"].set_index("dataset")["accuracy"].mul(0.6))
    return table.drop(columns="accuracy").assign(
        reference_latency_ms=36.0,
        hypervolume=area,
        hypervolume_low=area - 0.02,
        hypervolume_high=area + 0.02,
        gain=area - base,
        gain_low=area - base - 0.01,
        gain_high=area - base + 0.01,
    )


TIMING = {"drift_pct": 3.2, "drift_limit_pct": 5.0, "estimate_error_pct": 8.4, "num_timed": 20}


def training_log(steps: int = 400, seed: int = 0) -> pd.DataFrame:
    rng, step = np.random.default_rng(seed), np.arange(steps)
    grown = 1 - np.exp(-step / 90)
    return pd.DataFrame(
        {
            "step": step,
            "reward": -0.4 + 0.75 * grown + rng.normal(0, 0.05, steps),
            "accuracy": 0.55 + 0.15 * grown + rng.normal(0, 0.03, steps),
            "violation_rate": np.clip(0.45 - 0.4 * grown + rng.normal(0, 0.03, steps), 0, 1),
            "kl": 0.02 * grown,
            "entropy": 4.3 - 3.1 * grown + rng.normal(0, 0.03, steps),
        }
    )


def reliability(too_sure: float = 0.0, bins: int = 10) -> pd.DataFrame:
    """Shares of right answers that are nearer to one half than predicted, by this much of the distance."""
    predicted = np.linspace(0.05, 0.98, bins)
    observed = predicted - too_sure * (predicted - 0.5)
    return pd.DataFrame(
        {
            "bin": range(1, bins + 1),
            "predicted": predicted,
            "observed": observed,
            "observed_low": (observed - 0.04).clip(0, 1),
            "observed_high": (observed + 0.04).clip(0, 1),
            "num_predictions": 1500,
        }
    )


_DROPS = [0.061, 0.043, 0.067, 0.033, 0.024, 0.004, 0.027, 0.037, 0.020, 0.009, 0.013, -0.002, 0.006]


def importance_scores(overall: Mapping[str, float] | None = None, datasets: Sequence[str] = DATASETS) -> Importance:
    """Drops by block, by default of the 13 behind a fixed prefix of 3; each dataset's are larger or smaller."""
    overall = overall or {str(block): drop for block, drop in enumerate(_DROPS, start=3)}
    of_datasets = {
        dataset: _importance_of({block: drop * factor for block, drop in overall.items()})
        for dataset, factor in zip(datasets, (0.8, 0.6, 1.5), strict=False)
    }
    order = tuple(sorted((int(block) for block in overall), key=lambda block: overall[str(block)]))
    return importance(num_blocks=16, scores=dict(overall), removal_order=order, datasets=of_datasets)


def _importance_of(scores: dict[str, float]) -> DatasetImportance:
    return DatasetImportance(
        num_samples=10, baseline_accuracy=0.8, scores=scores, half_scores=(scores, scores), failed=()
    )


def _interval(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": max(0.0, value - half), "high": value + half}
