"""Controllers against each other and against the oracle."""

from adamolmo.budgets import KINDS
from adamolmo.files.columns import interval
from adamolmo.files.schema import Column, Table

_BUDGET = Column("text", f"budget as written in the configuration, or a kind of budget: {', '.join(KINDS)}")

COMPARISONS = Table(
    "comparisons",
    "results/comparisons.parquet",
    "Paired differences between every two controllers, the oracle included, on the same questions: per dataset and of "
    "all questions together (dataset 'all'), per budget and as the mean over the feasible budgets of each kind. "
    "Latencies are as measured where the budget promises something, else at the profile's speed: cells run at "
    "different times, and where no governor reacts to it, a device that was slow in one is not its controller's doing.",
    ("dataset", "budget", "controller", "other"),
    {
        "dataset": Column("text", "dataset, or 'all'"),
        "budget": _BUDGET,
        "controller": Column("text", "controller"),
        "other": Column("text", "the controller that it is compared with"),
        **interval("accuracy_gain", "mean score less that of the other"),
        "accuracy_p": Column("float64", "two-sided p-value of the sign-flip test over images, uncorrected", "share"),
        **interval("goodput_gain", "mean score of answers within the budget, late ones counting 0, less the other's"),
        "goodput_p": Column("float64", "the same p-value for the goodput", "share"),
        **interval("violation_change", "violation rate less that of the other"),
        **interval("latency_change_ms", "mean latency less that of the other"),
    },
)

EQUAL_LATENCY = Table(
    "equal_latency",
    "results/equal_latency.parquet",
    "Every controller, the oracle included, against the best mixture of two static configurations that takes as long "
    "on average, on the same questions; per dataset and budget, of all datasets and of the budgets of a kind together.",
    ("dataset", "controller", "budget"),
    {
        "dataset": Column("text", "dataset, or 'all'"),
        "controller": Column("text", "controller"),
        "budget": _BUDGET,
        "latency_ms": Column("float64", "mean latency, of both, as read off the evaluation grid", "positive"),
        "mixture_accuracy": Column("float64", "mean score of the mixture", "share"),
        **interval("gain", "the controller's mean score less the mixture's"),
        "gain_p": Column("float64", "two-sided p-value of the sign-flip test over images, uncorrected", "share"),
    },
)

PROMISES = Table(
    "promises",
    "results/promises.parquet",
    "What budgets promised and what was found, of controllers that heed budgets; a promise counts as broken if the "
    "whole interval is beyond it. Intervals: Clopper-Pearson for a late share at one budget, else bootstrap by image.",
    ("dataset", "controller", "budget"),
    {
        "dataset": Column("text", "dataset, or 'all'"),
        "controller": Column("text", "controller"),
        "budget": _BUDGET,
        "promised": Column("float64", "at most this share of late requests, or mean latency in shares of the budget"),
        **interval("found", "what the requests took, in the same unit", "not negative"),
        "broken": Column("bool", "whether found_low is above what was promised"),
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
        "budget": _BUDGET,
        **interval("regret", "to the best configuration in hindsight: too high, because hindsight also finds luck"),
        **interval("regret_confirmed", "to a choice that other configurations confirm: rather too low"),
    },
)
