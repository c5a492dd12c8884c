"""What a governor starts from, and what it leaves behind for the next call."""

from adamolmo.files.schema import Document

_SPENT = "mean, p90, p95 and p99 of the latency in ms, the quantiles raised to be safe for the number of questions"


def response_path(controller: str) -> str:
    """Of the document `response` of a learned controller, below the directory of results."""
    return f"controllers/{controller}/response.json"


def config_latency_path(dataset: str) -> str:
    """Of the document `config_latency`, below the directory of results."""
    return f"lookup/latency/{dataset}.json"


CONFIG_LATENCY = Document(
    "config_latency",
    f"results/{config_latency_path('{dataset}')}",
    "What every configuration took on the profiled questions: governors of tables start from it.",
    {"configurations": (dict, "configuration -> {mean, p90, p95, p99}: " + _SPENT)},
)
RESPONSE = Document(
    "response",
    f"results/{response_path('{controller}')}",
    "What the requests of a learned controller took on held-out profiled questions, by the limit that it was told: its "
    "governor starts from it.",
    {
        "controller": (str, "controller"),
        "datasets": (
            dict,
            "dataset -> {budgets_ms, spent_ms, prices_per_ms, spent_at_price_ms}: limits in ascending order and, in "
            f"the same order, {_SPENT}; no prices for a controller that heeds none",
        ),
    },
)
GOVERNOR_STATE = Document(
    "governor_state",
    "the file of `adamolmo answer --state`",
    "Where a stream of requests stands, kept between calls.",
    {
        "controller": (str, "controller"),
        "dataset": (str, "dataset"),
        "budget": (str, "budget as written"),
        "requests": (int, "requests so far"),
        "margin": (float, "the next request's effective budget is the budget / (1 + margin)"),
    },
)
