"""The findings in words, from the numbers alone: who wins where, how surely, budgets missed, what to doubt."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from adamolmo.controllers.roles import baseline_of, heeds_budget, without_oracle
from adamolmo.evaluation.comparison import ALL_BUDGETS, ALL_DATASETS
from adamolmo.evaluation.summary import at_profile_speed, keeps_p95, misses_budget
from adamolmo.report.figures.style import in_order
from adamolmo.report.results import knob_values, over_baseline
from adamolmo.statistics.intervals import SIGNIFICANCE, Resampling, holm, mean_intervals, samples_needed

_FLAT_SAVING_PCT = 5.0  # a knob that saves less time than this from its highest to its lowest value is flat
_DOUBTFUL_ESTIMATE_PCT = 10.0
_KNOBS = {"tier": "vision tier", "top_k": "top-k", "num_active_blocks": "number of active blocks"}


@dataclass(frozen=True)
class StudyResults:
    """What the report reads: the tables of the same names, and the metadata of each dataset's core_exp."""

    summary: pd.DataFrame
    comparisons: pd.DataFrame
    profile: pd.DataFrame
    timing: Mapping[str, Mapping]

    @property
    def datasets(self) -> list[str]:
        return sorted(self.summary["dataset"].unique())

    @property
    def baseline(self) -> str:
        return baseline_of(self.summary["controller"])


def first_paragraph(results: StudyResults) -> list[str]:
    """Sentences: the verdict, how large a difference the study could show, budgets missed, then every warning."""
    warnings = [*drift_warnings(results), *uneven_cells(results), *flat_knobs(results), *data_warnings(results)]
    return [*verdict(results), *resolution(results), *missed_budgets(results), *(f"Warning: {w}" for w in warnings)]


def verdict(results: StudyResults) -> list[str]:
    """Which controller beats the baseline where, by how much, how surely; Holm-corrected over the whole study."""
    table, base = gains_over_baseline(results), results.baseline
    if table.empty:
        return [f"The study has one controller only, {base}, so nothing is compared."]
    sentences, open_datasets = [], []
    for dataset in [*results.datasets, ALL_DATASETS]:
        rows = table[table["dataset"] == dataset]
        if rows.empty:  # a single dataset is not compared twice
            continue
        shown = rows[rows["keeps_budgets"] & (rows["p_holm"] < SIGNIFICANCE) & (rows["accuracy_gain"] > 0)]
        if shown.empty:
            open_datasets.append(dataset)
            continue
        best = shown.loc[shown["accuracy_gain"].idxmax()]
        sentences.append(f"On {_where(dataset)}, {best['controller']} beats {base}: {_gain(best)}.")
    if open_datasets:
        rows = table[table["dataset"].isin(open_datasets) & table["keeps_budgets"]]
        most = f"; the largest gain is {_of_largest(rows)}" if (rows["accuracy_gain"] > 0).any() else ""
        sentences.append(
            f"On {_and(map(_where, open_datasets))}, no controller that keeps its budgets as often as {base} is shown "
            f"to beat it{most}."
        )
    worse = table[(table["p_holm"] < SIGNIFICANCE) & (table["accuracy_gain"] < 0)]
    if len(worse):
        names = [
            f"{row.controller} on {_where(row.dataset)} ({100 * row.accuracy_gain:+.1f} points)"
            for row in worse.itertuples()
        ]
        sentences.append(f"Shown to be less accurate than {base}: {_and(names)}.")
    return [
        *sentences,
        f"All p-values are corrected for the {len(table)} comparisons with {base} (Holm); gains are means over the "
        "feasible budgets, on the same questions; budgets count as kept at the speed of the profile.",
    ]


def gains_over_baseline(results: StudyResults) -> pd.DataFrame:
    """The comparisons with the baseline over all budgets, with p_holm over them all, and keeps_budgets: whether the
    controller heeds them and misses no more feasible ones in the median than the baseline does, both at the profile's
    speed: their cells ran at different times, so measured misses would also compare the machine with itself."""
    rows = over_baseline(results.comparisons, results.baseline)
    rows = rows[rows["budget"] == ALL_BUDGETS].reset_index(drop=True)
    misses = _median_misses(at_profile_speed(results.summary))["missed"]
    keeps = [
        heeds_budget(r.controller) and misses[r.dataset, r.controller] <= misses[r.dataset, r.other]
        for r in rows.itertuples()
    ]
    return rows.assign(p_holm=holm(rows["accuracy_p"]), keeps_budgets=np.array(keeps, dtype=bool))


def resolution(results: StudyResults) -> list[str]:
    """How small a difference this study could show at all: half the width of a typical paired interval."""
    rows = gains_over_baseline(results)
    rows = rows[rows["dataset"] != ALL_DATASETS]
    widths = (rows["accuracy_gain_high"] - rows["accuracy_gain_low"])[lambda width: width > 0]
    if widths.empty:
        return []
    questions = sorted(results.summary["num_samples"].unique())
    count = str(questions[0]) if len(questions) == 1 else f"{questions[0]} to {questions[-1]}"
    least = 50 * widths.median()
    return [f"With {count} questions per dataset, differences below about {least:.1f} points cannot be shown."]


def missed_budgets(results: StudyResults) -> list[str]:
    """Budgets that nothing meets, controllers whose median is late, and how many cells keep the p95 promise."""
    sentences, summary = [], without_oracle(results.summary)
    none = summary[~summary["feasible"]].drop_duplicates(["dataset", "budget"])
    if len(none):
        cells = [f"{row.budget} on {row.dataset} ({row.budget_ms:.3g} ms)" for row in none.itertuples()]
        sentences.append(f"No configuration meets the budget {_and(cells)}.")
    if names := [f"{row.Index} {row.missed} of {row.cells}" for row in _late_controllers(summary).itertuples()]:
        sentences.append(f"Feasible budgets missed by the median request: {', '.join(names)}.")
        if (summary["slowdown"] != 1).any():
            late = _late_controllers(at_profile_speed(summary))
            names = [f"{row.Index} {row.missed}" for row in late.itertuples()] or ["none"]
            sentences.append(f"Had the device been as fast as during the profile: {', '.join(names)}.")
    if summary["num_samples"].max() < (fewest := samples_needed(0)):
        sentences.append(f"With fewer than {fewest} questions no cell can show that its p95 is within the budget.")
    else:
        kept = int(keeps_p95(summary).sum())
        sentences.append(
            f"The p95 is shown to be within the budget (99 % confidence) in {kept} of {len(summary)} cells."
        )
    return sentences


def drift_warnings(results: StudyResults) -> list[str]:
    late = {
        dataset: timing
        for dataset, timing in sorted(results.timing.items())
        if timing["drift_pct"] is not None and timing["drift_pct"] > timing["drift_limit_pct"]
    }
    if not late:
        return []
    drifts = _and([f"{timing['drift_pct']:.1f} % on {dataset}" for dataset, timing in late.items()])
    limit = next(iter(late.values()))["drift_limit_pct"]
    return [f"latency drifted during the profile by {drifts} (limit {limit:g} %): measure again on a quiet machine."]


def uneven_cells(results: StudyResults) -> list[str]:
    """Every cell times the same request as the profile did; where it certainly took longer or shorter, the device was
    slower or faster than the budgets and the controllers assume."""
    limit = min(
        (timing["drift_limit_pct"] for timing in results.timing.values() if timing["drift_limit_pct"]), default=0
    )
    cells = without_oracle(results.summary)
    uneven = (100 * (cells["slowdown_low"] - 1) > limit) | (100 * (1 - cells["slowdown_high"]) > limit)
    ranges = cells.assign(uneven=uneven).groupby("dataset").agg({"uneven": "any", "slowdown": ["min", "max"]})
    worst = [
        f"{low:.2f} to {high:.2f} times as long on {dataset}"
        for dataset, any_is, low, high in ranges.itertuples()
        if any_is
    ]
    if not limit or not worst:
        return []
    return [
        f"the device was not as fast in all cells as during the profile: one and the same request took {_and(worst)}; "
        "latencies and missed budgets of single cells are no surer than that."
    ]


def flat_knobs(results: StudyResults) -> list[str]:
    """Knobs that trade nothing: the accuracy does not change, or no time is saved, from the highest to the lowest value
    with the other knobs at their highest. Accuracy by 95 % interval clustered by image, time by the median."""
    found: dict[str, list[str]] = {}
    values = knob_values(results.profile)
    full = {knob: ascending[-1] for knob, ascending in values.items()}
    for dataset, rows in results.profile.groupby("dataset", observed=True):
        for knob, ascending in values.items():
            if len(ascending) < 2:
                continue
            high, low = (_at(rows, full | {knob: value}) for value in (ascending[-1], ascending[0]))
            saving = 100 * (1 - low["latency_ms"].median() / high["latency_ms"].median())
            lost = (high["accuracy"] - low["accuracy"]).to_numpy(float)
            value, bottom, top = 100 * mean_intervals(lost, high["image_id"], resampling=Resampling(1000))[:, 0]
            if saving < _FLAT_SAVING_PCT or bottom <= 0 <= top:
                lost_points = f"{value:+.1f} points lost, {bottom:+.1f} to {top:+.1f}"
                found.setdefault(knob, []).append(f"{dataset} ({lost_points}; {saving:.0f} % of the time saved)")
    return [
        f"the {_KNOBS[knob]} is flat, from its highest to its lowest value, on {_and(places)}."
        for knob, places in found.items()
    ]


def data_warnings(results: StudyResults) -> list[str]:
    warnings = []
    errors = {
        dataset: timing["estimate_error_pct"]
        for dataset, timing in sorted(results.timing.items())
        if (timing["estimate_error_pct"] or 0) > _DOUBTFUL_ESTIMATE_PCT
    }
    if errors:
        names = _and([f"{error:.1f} % on {dataset}" for dataset, error in errors.items()])
        warnings.append(f"latencies that the profile estimates rather than measures are off by {names} on average.")
    failed = results.summary.groupby("dataset")["num_failed"].max()
    if failed.any():
        names = _and([f"{count} on {dataset}" for dataset, count in failed[failed > 0].items()])
        warnings.append(f"unreadable images were left out: {names}.")
    if (results.summary["clock"] == "modelled").any():
        warnings.append("latencies are modelled, not measured: they say nothing about the speed of a real device.")
    return warnings


def _median_misses(summary: pd.DataFrame) -> pd.DataFrame:
    """missed and cells, by dataset (and of all) and controller, over the feasible budgets."""
    late = summary["feasible"] & misses_budget(summary)
    counts = summary.assign(missed=late, cells=summary["feasible"])
    counts = pd.concat([counts, counts.assign(dataset=ALL_DATASETS)])
    return counts.groupby(["dataset", "controller"])[["missed", "cells"]].sum()


def _late_controllers(summary: pd.DataFrame) -> pd.DataFrame:
    """missed and cells over all datasets, by controller, of those that miss any."""
    totals = _median_misses(summary).loc[ALL_DATASETS]
    late = totals[totals["missed"] > 0]
    return late.loc[in_order(late.index)]


def _at(rows: pd.DataFrame, knobs: Mapping[str, object]) -> pd.DataFrame:
    """The rows of one config, in the order of the samples."""
    chosen = np.logical_and.reduce([rows[knob] == value for knob, value in knobs.items()])
    return rows[chosen].sort_values("sample_id").reset_index(drop=True)


def _gain(row: pd.Series) -> str:
    low, high = 100 * row["accuracy_gain_low"], 100 * row["accuracy_gain_high"]
    return f"{100 * row['accuracy_gain']:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}, {_p(row['p_holm'])})"


def _of_largest(rows: pd.DataFrame) -> str:
    row = rows.loc[rows["accuracy_gain"].idxmax()]
    return f"that of {row['controller']} on {_where(row['dataset'])}, {_gain(row)}"


def _where(dataset: str) -> str:
    return "all datasets together" if dataset == ALL_DATASETS else dataset


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.0995 else f"p = {p:.2f}"


def _and(names: Iterable[str]) -> str:
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
