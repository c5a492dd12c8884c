"""The page that sets the controllers side by side: what each reads, costs and gains, and when to use which.

Designs come from the controllers' modules, all numbers from the study's results; the words are in the template.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from adamolmo.budgets import KINDS, Budget
from adamolmo.config.controllers import OwnControllerSettings
from adamolmo.controllers.modules import find_design
from adamolmo.controllers.registry import find_controller
from adamolmo.controllers.roles import ORACLE, baseline_of, heeds_budget, without_oracle
from adamolmo.evaluation.summary import at_profile_speed
from adamolmo.report.figures.style import EXPLAINED, in_order
from adamolmo.report.results import CELL, budget_name, everywhere, kinds_of, over_baseline, violation_rates
from adamolmo.report.templates import render
from adamolmo.report.verdict import judge, judged_by, recommended

# Of a reading: how the page calls it, and how often the vision encoder then runs.
_READINGS = {
    "size": ("size", ""),
    "question": ("question", ""),
    "overview": ("overview crop", "2, no crop twice"),
    "thumbnail": ("thumbnail", "1, and a small one"),
}


def page(
    template: Path,
    summary: pd.DataFrame,
    comparisons: pd.DataFrame,
    equal_latency: pd.DataFrame,
    promises: pd.DataFrame,
    hypervolumes: pd.DataFrame,
    own: Mapping[str, OwnControllerSettings],
    regret: pd.DataFrame | None = None,
    trained: Mapping[str, Mapping] | None = None,
) -> str:
    """Markdown.

    Args:
        summary, comparisons, equal_latency, promises, hypervolumes, regret: the tables of those names; no regret
            without an oracle.
        own: the study's `own_controllers`.
        trained: the key `training` of each learned controller's policy.json, by name.
    """
    datasets = sorted(summary["dataset"].unique())
    scope = everywhere(summary)
    baseline = baseline_of(summary["controller"])
    controllers = in_order(without_oracle(summary)["controller"])
    gains = over_baseline(comparisons[comparisons["dataset"] == scope], baseline).set_index(CELL)
    mixtures, kept = (table[table["dataset"] == scope].set_index(CELL) for table in (equal_latency, promises))
    judged = judge(comparisons, equal_latency, promises, baseline)
    rates, rates_at_profile_speed = (violation_rates(cells) for cells in (summary, at_profile_speed(summary)))
    by_budget_ms = summary.groupby("budget")["budget_ms"].mean().sort_values()  # from tight to loose
    budgets = {budget: budget_name(budget) for budget in by_budget_ms.index}
    kinds = {kind: f"{KINDS[kind]}, mean" for kind in kinds_of(summary)}
    slowdowns = without_oracle(summary)["slowdown"]
    return render(
        template,
        num_questions=int(summary.groupby("dataset")["num_samples"].first().sum()),
        clock=summary["clock"].iloc[0],
        datasets=datasets,
        baseline=baseline,
        controllers=controllers,
        explained={name: EXPLAINED[name] for name in controllers if name in EXPLAINED},
        controllers_and_oracle=[*controllers, ORACLE] if ORACLE in set(summary["controller"]) else controllers,
        others=[name for name in controllers if name != baseline],
        budgets=budgets,
        budgets_and_kinds=budgets | kinds,
        promised={name: title for name, title in (budgets | kinds).items() if name in kept.index.unique("budget")},
        designs={name: _design(name, own) for name in controllers},
        costs=summary.groupby("controller")[["controller_ms", "controller_share_pct"]].mean().to_dict("index"),
        overheads_ms={name: training.get("overhead_ms", {}) for name, training in (trained or {}).items()},
        accuracies={name: cells.set_index(CELL).to_dict("index") for name, cells in summary.groupby("dataset")},
        gains=gains.to_dict("index"),
        mixtures=mixtures.to_dict("index"),
        kept=kept.to_dict("index"),
        heeding=[name for name in controllers if heeds_budget(name)],
        rates=rates.to_dict("index"),
        slowdowns=slowdowns.tolist() if (slowdowns != 1).any() else [],
        rates_at_profile_speed=rates_at_profile_speed.to_dict("index"),
        regrets={} if regret is None else regret[regret["dataset"] == scope].set_index(CELL).to_dict("index"),
        hypervolumes=hypervolumes.set_index(["controller", "dataset"]).to_dict("index"),
        recommended=recommended(judged[judged["dataset"] == scope], budgets),
        judged={budget: judged_by(baseline)[Budget.parse(budget).kind] for budget in budgets},
    )


def _design(name: str, own: Mapping[str, OwnControllerSettings]) -> dict[str, str]:
    """When it decides, what it reads, and how often the vision encoder runs."""
    registered = find_controller(name, own)
    if registered.parts:
        return dict.fromkeys(("decides", "reads", "vision_passes"), "as its part")
    design = find_design(name, registered.module)
    if design is None:
        return {"decides": "as its file says", "reads": "as its file says", "vision_passes": ""}
    if not heeds_budget(name):
        return {"decides": "never", "reads": "nothing", "vision_passes": "1"}
    found = [_READINGS[reading] for reading in _READINGS if reading in design.reads]
    reads = ", ".join(["budget", *(called for called, _ in found)])
    passes = next((passes for _, passes in found if passes), "1")
    if design.stages == 1:
        return {"decides": "before vision", "reads": reads, "vision_passes": passes}
    decides = "tier before vision, the rest after the fixed prefix"
    return {"decides": decides, "reads": f"{reads}; then the prompt", "vision_passes": passes}
