"""What the report opens with: who wins at which kind of budget and by how much, whether promises were kept, how sure
that is. Three sentences and a table of winners, from the numbers alone."""

import pandas as pd

from adamolmo.budgets import ALLOWED_LATE, KINDS, kind_of
from adamolmo.report.figures.style import in_order
from adamolmo.report.findings import StudyResults, in_words, resolution, warnings
from adamolmo.report.results import budget_name, budgets_of, kinds_of, late_share
from adamolmo.report.verdict import judged_by, recommended, shown_better


def sentences(results: StudyResults) -> list[str]:
    """Three, two where no budget promises anything."""
    return [_who_wins(results), *_promises(results), _how_sure(results)]


def winners(results: StudyResults) -> list[dict]:
    """Per budget the controller whose gain is certain (interval above 0) and largest among those that keep its promise;
    where there is none, controller None: the baseline, or a mixture of static configurations, is as good."""
    judged = results.judged[results.judged["dataset"] == results.everywhere]
    budgets = budgets_of(results.summary)
    chosen = recommended(judged, budgets.index)
    by = judged_by(results.baseline)
    rows = []
    for budget in budgets.index:
        if budget not in set(judged["budget"]):
            continue
        feasible, measure = bool(budgets.loc[budget, "feasible"]), by[kind_of(budget)]
        best = chosen[budget][0] if chosen[budget] else dict.fromkeys(("controller", "gain", "gain_low", "gain_high"))
        named = {"title": budget_name(budget), "budget": budget, "feasible": feasible, "measure": measure.measure}
        rows.append(best | named | {"against": measure.against})
    return rows


def _who_wins(results: StudyResults) -> str:
    """By kind of budget; kinds at which nobody wins are told together, behind the others."""
    gains = results.gains_by_kind
    over_all = gains[gains["dataset"] == results.everywhere]
    if over_all.empty:
        return f"Nothing is compared: {results.baseline} is the study's only controller that heeds a budget."
    parts, nobody, by = [], {}, judged_by(results.baseline)
    for kind in kinds_of(results.summary):
        rows = over_all[over_all["kind"] == kind]
        if rows.empty:
            continue
        better = rows[shown_better(rows)]
        if better.empty:
            nobody.setdefault(by[kind].against, []).append(KINDS[kind])
        else:
            best = better.loc[better["gain"].idxmax()]
            gain, low, high = (f"{100 * best[end]:+.1f}" for end in ("gain", "gain_low", "gain_high"))
            parts.append(
                f"{KINDS[kind]}, {best['controller']} wins: {gain} points ({low} to {high}) over {by[kind].against}"
            )
    beaten = " or ".join(f"{against} {in_words(kinds)}" for against, kinds in nobody.items())
    if not parts:
        return f"No controller is shown to win at any kind of budget: to beat {beaten}."
    parts += [f"nobody is shown to beat {beaten}"] if nobody else []
    return f"Budgets {'; '.join(parts)}."


def _promises(results: StudyResults) -> list[str]:
    pooled, parts = results.promises[results.promises["dataset"] == results.everywhere], []
    for kind in kinds_of(results.summary):
        rows = pooled[pooled["budget"] == kind]
        if rows.empty:
            continue
        broken = in_order(rows.loc[rows["broken"], "controller"])
        if broken:
            said = f"broken by {'every controller' if len(broken) == len(rows) else in_words(broken)}"
        elif (rows["found"] <= rows["promised"]).all():
            said = "kept by every controller"
        else:  # with few questions
            said = "not shown to be broken by any"
        parts.append(f"{KINDS[kind]}, {said} ({_found(results, kind, rows)})")
    return [f"Promises: {'; '.join(parts)}."] if parts else []


def _found(results: StudyResults, kind: str, rows: pd.DataFrame) -> str:
    if kind == "mean":
        return f"mean latency {100 * rows['found'].min():.1f} to {100 * rows['found'].max():.1f} % of the budget"
    late = late_share(results.summary, kind)
    interval = f"{100 * late.low:.1f} to {100 * late.high:.1f}"
    return f"{100 * late.value:.1f} % late, {interval}; {100 * ALLOWED_LATE[kind]:g} % allowed"


def _how_sure(results: StudyResults) -> str:
    count = len(warnings(results))
    warned = f"; {count} warning{'s' if count > 1 else ''} below" if count else ""
    smallest = resolution(results)
    return f"{smallest.rstrip('.')}{warned}." if smallest else f"Warnings: {count}."
