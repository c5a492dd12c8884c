"""Made-up results of a study in which nothing is shown, and ways to plant a gain or a broken promise in them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import study_data

from adamolmo.evaluation.summary import collect
from adamolmo.knobs import KnobConfig
from adamolmo.report.findings import StudyResults

CONTROLLERS = ["static-full", "lookup-mean", "tier-only", "two-stage-budget"]
BUDGETS = ["60pct", "105pct", "60pct-p95", "80pct-p95", "60pct-mean", "80pct-mean"]
MIXTURE = "the best mixture of two static configurations"


def quiet_results(folder: Path, controllers: Sequence[str] = CONTROLLERS) -> StudyResults:
    """Nothing is shown: all p-values are 0.5, no drift, budgets that are met and promises that are kept."""
    summary = collect(study_data.write_cells(folder, controllers, BUDGETS))
    tightest_ms = summary.groupby("dataset")["budget_ms"].transform("min")
    quiet = {"latency_p50_ms": 0.9 * tightest_ms, "latency_mean_ms": 0.9 * tightest_ms, "violation_rate": 0.01}
    return StudyResults(
        summary=summary.assign(**quiet),
        comparisons=study_data.comparisons(summary).assign(accuracy_p=0.5, goodput_p=0.5),
        equal_latency=study_data.equal_latency(summary).assign(gain_p=0.5),
        promises=study_data.promises(summary.assign(**quiet)),
        profile=_without_chance(study_data.profile(samples=30)),
        timing=dict.fromkeys(study_data.DATASETS, study_data.TIMING),
    )


def _without_chance(profile: pd.DataFrame) -> pd.DataFrame:
    """Every question is answered as well as its config answers on average: no knob looks flat by bad luck."""
    configs = zip(profile["dataset"], profile["tier"], profile["top_k"], profile["num_active_blocks"], strict=True)
    return profile.assign(accuracy=[study_data.accuracy(d, KnobConfig(t, k, b)) for d, t, k, b in configs])


def changed(results: StudyResults, **changes) -> StudyResults:
    return replace(results, **changes)


def plant(
    results: StudyResults, kind: str, controller: str, gain: float, p: float, dataset: str = "all"
) -> StudyResults:
    """A gain by the measure of the kind, over its budgets."""
    measure = {"per-request": "goodput", "mean": ""}.get(kind, "accuracy")
    table = (results.comparisons if measure else results.equal_latency).copy()
    chosen = (table["dataset"] == dataset) & (table["controller"] == controller) & (table["budget"] == kind)
    if measure:
        chosen &= table["other"] == "lookup-mean"
    column, p_column = (f"{measure}_gain", f"{measure}_p") if measure else ("gain", "gain_p")
    values = {column: gain, f"{column}_low": gain - 0.01, f"{column}_high": gain + 0.01, p_column: p}
    table.loc[chosen, list(values)] = list(values.values())
    return changed(results, **{"comparisons" if measure else "equal_latency": table})


def break_promise(results: StudyResults, kind: str, controller: str, dataset: str = "all") -> StudyResults:
    table = results.promises
    chosen = (table["dataset"] == dataset) & (table["controller"] == controller) & (table["budget"] == kind)
    assert chosen.sum() == 1
    return changed(results, promises=table.assign(broken=table["broken"] | chosen))
