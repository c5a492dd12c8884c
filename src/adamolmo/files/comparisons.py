"""Controllers against each other and against the oracle."""

from adamolmo.files.columns import interval
from adamolmo.files.schema import Column, Table

COMPARISONS = Table(
    "comparisons",
    "results/comparisons.parquet",
    "Paired differences between every two controllers, the oracle included, on the same questions: per dataset and of "
    "all questions together (dataset 'all'), per budget and as the mean over the feasible budgets (budget 'all').",
    ("dataset", "budget", "controller", "other"),
    {
        "dataset": Column("text", "dataset, or 'all'"),
        "budget": Column("text", "budget as written in the configuration, or 'all'"),
        "controller": Column("text", "controller"),
        "other": Column("text", "the controller that it is compared with"),
        **interval("accuracy_gain", "mean score less that of the other"),
        "accuracy_p": Column("float64", "two-sided p-value of the sign-flip test over images, uncorrected", "share"),
        **interval("violation_change", "violation rate less that of the other"),
        **interval("latency_change_ms", "mean latency less that of the other"),
    },
)

HYPERVOLUMES = Table(
    "hypervolumes",
    "results/hypervolumes.parquet",
    "Per dataset and controller the area below its accuracy over latency, up to the highest budget, in share of the "
    "whole: the accuracy at hand on average over all latency limits up to that budget.",
    ("dataset", "controller"),
    {
        "dataset": Column("text", "dataset"),
        "controller": Column("text", "controller"),
        "reference_latency_ms": Column("float64", "the highest budget; slower points cover nothing", "positive"),
        **interval("hypervolume", "covered share of (reference latency x accuracy 1)", "share"),
        **interval("gain", "the same less that of the baseline, on the same resamples"),
    },
)

REGRET = Table(
    "regret",
    "results/regret.parquet",
    "Accuracy that is missing to the oracle; only when the configuration names the oracle.",
    ("dataset", "controller", "budget"),
    {
        "dataset": Column("text", "dataset, or 'all'"),
        "controller": Column("text", "controller"),
        "budget": Column("text", "budget as written in the configuration, or 'all'"),
        **interval("regret", "to the best configuration in hindsight: too high, because hindsight also finds luck"),
        **interval("regret_confirmed", "to a choice that other configurations confirm: rather too low"),
    },
)
