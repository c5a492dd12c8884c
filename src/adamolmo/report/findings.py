"""The findings in words, from the numbers alone: who wins at which kind of budget, are promises kept, what to doubt."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from adamolmo.budgets import ALLOWED_LATE, KINDS, PER_REQUEST, kind_of
from adamolmo.controllers.roles import baseline_of, heeds_budget, without_oracle
from adamolmo.evaluation.summary import at_profile_speed, misses_budget
from adamolmo.report.figures.style import in_order
from adamolmo.report.results import everywhere, kinds_of, knob_values, late_share
from adamolmo.report.verdict import judge, judged_by, over_kinds, shown_better
from adamolmo.statistics.intervals import SIGNIFICANCE, Resampling, mean_intervals

_FLAT_SAVING_PCT = 5.0  # a knob that saves less time than this from its highest to its lowest value is flat
_DOUBTFUL_ESTIMATE_PCT = 10.0
_KNOBS = {"tier": "vision tier", "top_k": "top-k", "num_active_blocks": "number of active blocks"}


@dataclass(frozen=True)
class StudyResults:
    """What the report reads: the tables of the same names, and the metadata of each dataset's core_exp."""

    summary: pd.DataFrame
    comparisons: pd.DataFrame
    equal_latency: pd.DataFrame
    promises: pd.DataFrame
    profile: pd.DataFrame
    timing: Mapping[str, Mapping]

    @property
    def datasets(self) -> list[str]:
        return sorted(self.summary["dataset"].unique())

    @property
    def everywhere(self) -> str:
        return everywhere(self.summary)

    @property
    def baseline(self) -> str:
        return baseline_of(self.summary["controller"])

    @cached_property
    def judged(self) -> pd.DataFrame:
        """Of `verdict.judge`."""
        return judge(self.comparisons, self.equal_latency, self.promises, self.baseline)

    @cached_property
    def gains_by_kind(self) -> pd.DataFrame:
        """Of `verdict.over_kinds`."""
        return over_kinds(self.judged)


def findings(results: StudyResults) -> list[str]:
    """Sentences: the verdict, whether promises were kept, budgets missed."""
    return [*verdict(results), *kept_promises(results), *missed_budgets(results)]


def warnings(results: StudyResults) -> list[str]:
    """What to doubt: the device's speed, knobs that trade nothing, estimates, lost questions, the clock."""
    return [*drift_warnings(results), *uneven_cells(results), *flat_knobs(results), *data_warnings(results)]


def verdict(results: StudyResults) -> list[str]:
    """Per kind of budget, which controller beats what, by how much, how surely; Holm-corrected over the whole study."""
    gains, base = results.gains_by_kind, results.baseline
    if gains.empty:
        return [f"The study has one controller only, {base}, so nothing is compared."]
    sentences = []
    for kind in kinds_of(results.summary):
        rows = gains[gains["kind"] == kind]
        sentences += _verdict_of_kind(rows, judged_by(base)[kind].against, kind, results.everywhere)
    return [
        *sentences,
        f"All p-values are corrected for {len(gains)} comparisons (Holm); gains are means over the feasible budgets of "
        "a kind, on the same questions. Per request counts what is right and on time; where a share may be late, "
        "accuracy at that lateness; on average, accuracy at equal mean latency.",
    ]


def _verdict_of_kind(rows: pd.DataFrame, against: str, kind: str, everywhere: str) -> list[str]:
    over_all, each = rows[rows["dataset"] == everywhere], rows[rows["dataset"] != everywhere]
    if rows.empty:
        return []
    where, sentences = f"Budgets {KINDS[kind]}", []
    shown = over_all[shown_better(over_all)]
    if len(shown):
        best = shown.loc[shown["gain"].idxmax()]
        sentences.append(f"{where}: {best['controller']} beats {against}: {_gain(best)}.")
    else:
        most = over_all.loc[over_all["gain"].idxmax()]
        sentences.append(
            f"{where}: no controller is shown to beat {against}; the largest gain is that of {most['controller']}, "
            f"{_gain(most)}."
        )
    single = each[shown_better(each)].sort_values("gain", ascending=False).groupby("dataset", sort=False).head(1)
    if len(single):
        names = [f"{row.controller} on {row.dataset} ({100 * row.gain:+.1f} points)" for row in single.itertuples()]
        sentences.append(f"On single datasets: {in_words(names)}.")
    worse = over_all[(over_all["p_holm"] < SIGNIFICANCE) & (over_all["gain"] < 0)]
    if len(worse):
        names = [f"{row.controller} ({100 * row.gain:+.1f} points)" for row in worse.itertuples()]
        sentences.append(f"Shown to be below {against}: {in_words(names)}.")
    return sentences


def kept_promises(results: StudyResults) -> list[str]:
    """Of every kind of budget that promises something what was found, and whose promise is shown to be broken."""
    sentences, pooled = [], results.promises[results.promises["dataset"] == results.everywhere]
    for kind in kinds_of(results.summary):
        rows = pooled[pooled["budget"] == kind]
        if rows.empty:
            continue
        if kind == "mean":
            found = (
                f"mean latency was {100 * rows['found'].min():.1f} to {100 * rows['found'].max():.1f} % of the budget"
            )
            sentence = f"Promised on average: {found}, by controller"
        else:
            late = late_share(results.summary, kind)
            sentence = (
                f"Promised {KINDS[kind]}: {100 * late.value:.1f} % of the requests were late "
                f"({100 * late.low:.1f} to {100 * late.high:.1f} %), at most {100 * ALLOWED_LATE[kind]:g} % may be"
            )
        broken = in_order(rows.loc[rows["broken"], "controller"])
        said = f"shown to be broken by {in_words(broken)}" if broken else "no controller is shown to break it"
        sentences.append(f"{sentence}; {said}.")
    return sentences


def resolution(results: StudyResults) -> str | None:
    """How small a difference this study could show at all: half the width of a typical paired interval."""
    rows = results.gains_by_kind
    rows = rows[rows["dataset"] == results.everywhere]
    widths = (rows["gain_high"] - rows["gain_low"])[lambda width: width > 0]
    if widths.empty:
        return None
    questions = int(results.summary.groupby("dataset")["num_samples"].max().sum())
    return f"With {questions} questions, differences below about {50 * widths.median():.1f} points cannot be shown."


def missed_budgets(results: StudyResults) -> list[str]:
    """Budgets that nothing meets, and controllers whose median is late under a budget per request."""
    sentences, summary = [], without_oracle(results.summary)
    none = summary[~summary["feasible"]].drop_duplicates(["dataset", "budget"])
    if len(none):
        cells = [f"{row.budget} on {row.dataset} ({row.budget_ms:.3g} ms)" for row in none.itertuples()]
        sentences.append(f"No configuration meets the budget {in_words(cells)}.")
    cells = summary[(summary["budget"].map(kind_of) == PER_REQUEST) & summary["controller"].map(heeds_budget)]
    if names := _late_controllers(cells):
        sentences.append(f"Feasible budgets per request that the median request missed: {', '.join(names)}.")
        if (cells["slowdown"] != 1).any():
            names = _late_controllers(at_profile_speed(cells)) or ["none"]
            sentences.append(f"Had the device been as fast as during the profile: {', '.join(names)}.")
    return sentences


def drift_warnings(results: StudyResults) -> list[str]:
    late = {
        dataset: timing
        for dataset, timing in sorted(results.timing.items())
        if timing["drift_pct"] is not None and timing["drift_pct"] > timing["drift_limit_pct"]
    }
    if not late:
        return []
    drifts = in_words([f"{timing['drift_pct']:.1f} % on {dataset}" for dataset, timing in late.items()])
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
        "the device was not as fast in all cells as during the profile: one and the same request took "
        f"{in_words(worst)}; latencies and missed budgets of single cells are no surer than that."
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
        f"the {_KNOBS[knob]} is flat, from its highest to its lowest value, on {in_words(places)}."
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
        names = in_words([f"{error:.1f} % on {dataset}" for dataset, error in errors.items()])
        warnings.append(f"latencies that the profile estimates rather than measures are off by {names} on average.")
    failed = results.summary.groupby("dataset")["num_failed"].max()
    if failed.any():
        names = in_words([f"{count} on {dataset}" for dataset, count in failed[failed > 0].items()])
        warnings.append(f"unreadable images were left out: {names}.")
    if (results.summary["clock"] == "modelled").any():
        warnings.append("latencies are modelled, not measured: they say nothing about the speed of a real device.")
    return warnings


def _late_controllers(cells: pd.DataFrame) -> list[str]:
    """Of those whose median is over a feasible budget, in how many cells of how many."""
    cells = cells[cells["feasible"]]
    counts = misses_budget(cells).groupby(cells["controller"]).agg(["sum", "count"])
    late = counts[counts["sum"] > 0]
    return [f"{name} {late.loc[name, 'sum']} of {late.loc[name, 'count']}" for name in in_order(late.index)]


def _at(rows: pd.DataFrame, knobs: Mapping[str, object]) -> pd.DataFrame:
    """The rows of one config, in the order of the samples."""
    chosen = np.logical_and.reduce([rows[knob] == value for knob, value in knobs.items()])
    return rows[chosen].sort_values("sample_id").reset_index(drop=True)


def _gain(row: pd.Series) -> str:
    low, high = 100 * row["gain_low"], 100 * row["gain_high"]
    return f"{100 * row['gain']:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}, {_p(row['p_holm'])})"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.0995 else f"p = {p:.2f}"


def in_words(names: Iterable[str]) -> str:
    """a, b and c"""
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
