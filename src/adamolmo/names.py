"""Names that the study uses as its own, so that no dataset, tier or controller can have them: the one list of them.

`tests/unit/test_names.py` looks for others among the files that the rules write.
"""

ALL_DATASETS = "all"  # in tables of comparisons, what was found on all questions together
# No controller: the best configuration of every question in hindsight, from the profile of the evaluation split.
ORACLE = "oracle"
STATIC_PREFIX = "static-"  # before a configuration: a controller that always chooses it

# Of datasets and tiers: what they would share a row or a file's name with.
RESERVED = {
    ALL_DATASETS: "everything together",
    "scores": "the ranking of the blocks",
    "beam_search": "the search over sets of blocks",
    "merge": "the log of the ranking",
}
