"""Who gains how much, by one fair measure for every kind of budget.

per request        goodput, answers that are right and on time, against the baseline table: accuracy alone would praise
                   whoever is late
so many on time    accuracy against the baseline under a governor that allows both the same share of late requests
on average         accuracy against the best mixture of two static configurations with the same mean latency, which is
                   what a table can do at best
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from adamolmo.budgets import KINDS, PER_REQUEST, kind_of
from adamolmo.controllers.roles import heeds_budget, without_oracle
from adamolmo.statistics.intervals import SIGNIFICANCE, holm

MIXTURE = "the best mixture of two static configurations"
_ENDS = ("", "_low", "_high")
_COLUMNS = ["dataset", "budget", "controller", *(f"gain{end}" for end in _ENDS), "p"]
# Of a kind: where its gains come from in `comparisons`, and where their p-values.
_COMPARED = dict.fromkeys(KINDS, ("accuracy_gain", "accuracy_p")) | {PER_REQUEST: ("goodput_gain", "goodput_p")}


@dataclass(frozen=True)
class Judged:
    """Attributes:
    measure: what is gained.
    against: on whom.
    """

    measure: str
    against: str


def judged_by(baseline: str) -> Mapping[str, Judged]:
    """By kind of budget."""
    at_equal_lateness = Judged("accuracy at equal lateness", baseline)
    return dict.fromkeys(KINDS, at_equal_lateness) | {
        PER_REQUEST: Judged("goodput (right and on time)", baseline),
        "mean": Judged("accuracy at equal mean latency", MIXTURE),
    }


def judge(
    comparisons: pd.DataFrame, equal_latency: pd.DataFrame, promises: pd.DataFrame, baseline: str
) -> pd.DataFrame:
    """Gains of the controllers that heed budgets, at every budget and, under its name, over those of a kind: dataset,
    budget, controller, gain with its interval, p (uncorrected), kind, and broken: whether what the budget
    promises was shown to be broken there."""
    pairs = comparisons[comparisons["other"] == baseline]
    parts = []
    for kind in KINDS:
        if kind == "mean":
            rows = equal_latency.rename(columns={"gain_p": "p"})
        else:
            gain, p = _COMPARED[kind]
            rows = pairs.rename(columns={f"{gain}{end}": f"gain{end}" for end in _ENDS} | {p: "p"})
        parts.append(rows[rows["budget"].map(kind_of) == kind][_COLUMNS].assign(kind=kind))
    gains = without_oracle(pd.concat(parts, ignore_index=True))
    gains = gains[gains["controller"].map(heeds_budget).astype(bool)]
    kept = promises.set_index(["dataset", "controller", "budget"])["broken"]
    keys = pd.MultiIndex.from_frame(gains[["dataset", "controller", "budget"]])
    return gains.assign(broken=kept.reindex(keys, fill_value=False).to_numpy(bool)).reset_index(drop=True)


def over_kinds(judged: pd.DataFrame) -> pd.DataFrame:
    """Of `judge`, the means over the budgets of each kind, with p_holm over them all."""
    gains = judged[judged["budget"] == judged["kind"]].reset_index(drop=True)
    return gains.assign(p_holm=holm(gains["p"]))


def shown_better(gains: pd.DataFrame) -> pd.Series:
    """Which rows of `over_kinds` are shown to win: also after correction, and without a broken promise."""
    return (gains["p_holm"] < SIGNIFICANCE) & (gains["gain"] > 0) & ~gains["broken"]


def recommended(judged: pd.DataFrame, budgets: Iterable[str]) -> dict[str, list[dict]]:
    """Per budget, best first, the rows of the controllers whose gain is certain (interval above 0) and that are not
    shown to break what it promises; none: the baseline.

    Args:
        judged: of `judge`, of one dataset or of all.
    """
    chosen = judged[(judged["gain_low"] > 0) & ~judged["broken"]].sort_values("gain", ascending=False)
    return {budget: chosen[chosen["budget"] == budget].to_dict("records") for budget in budgets}
