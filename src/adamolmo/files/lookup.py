"""What is looked up per request besides the tables: the latency that its size lets expect."""

from adamolmo.files.schema import Document

EXPECTED_LATENCY = Document(
    "expected_latency",
    "results/lookup/expected_latency.json",
    "Latency of a request in every configuration, expected from its crops and prompt tokens at the configuration's "
    "tier: fixed_ms + ms_per_crop * crops + ms_per_token * tokens; from the stage times of the profile and each "
    "configuration's mean number of decode steps in it.",
    {
        "configurations": (list, "their names, in the order of the coefficients"),
        "datasets": (
            dict,
            "by dataset, and 'pooled': {fixed_ms, ms_per_crop, ms_per_token}, one number per configuration each, and "
            "error_pct: mean absolute difference to the profile's own latencies, in percent of them",
        ),
        "clock": (str, "'measured' or 'modelled'"),
        "device": (dict, "the device on which the profile was measured"),
    },
)
