"""The importance of the blocks: scores by dataset and rule, the ranking, what each ranking keeps."""

from adamolmo.files.schema import Document

_SCORES = {
    "num_samples": (int, "questions"),
    "baseline_accuracy": (float, "accuracy with all blocks"),
    "scores": (dict, "block -> accuracy drop when that block is skipped"),
}
_FAILED = {"failed": (list, "unreadable samples: {sample_id, reason}")}
_AGREEMENT = {
    "agreement": (dict, "rule -> rank correlation between halves and between datasets (null: all scores equal)")
}

IMPORTANCE_OF_DATASET = Document(
    "importance_of_dataset",
    "results/importance/{dataset}.json",
    "What skipping one block costs on one dataset.",
    {
        **_SCORES,
        "half_scores": (list, "the same on the questions about every other image, twice"),
        **_FAILED,
    },
)

INTERNAL_SCORES = Document(
    "internal_scores",
    "results/importance/internal/{dataset}.json",
    "Scores of the blocks from inside the model, to compare accuracy drops with.",
    {
        "num_samples": (int, "questions"),
        "rules": (dict, "rule -> {scores, half_scores}, as those of the accuracy drop"),
        **_FAILED,
    },
)

BEAM_SEARCH = Document(
    "beam_search",
    "results/importance/beam_search.json",
    "The best sets of blocks to remove together; every dataset counts alike.",
    {
        "model_checksum": (str, "checksum of the model that was searched"),
        "num_samples": (int, "questions"),
        "baseline_accuracy": (float, "accuracy with all blocks"),
        "width": (int, "sets of a size from which larger ones are made"),
        "sets_tried": (int, "sets answered"),
        "removed_sets": (list, "the best set of 1, 2, ... blocks"),
        "accuracies": (list, "accuracy without each of these sets"),
    },
)

IMPORTANCE = Document(
    "importance",
    "results/importance/scores.json",
    "The ranking of the blocks; every dataset counts alike.",
    {
        "model_checksum": (str, "checksum of the model that was scored"),
        "num_blocks": (int, "transformer blocks of the model"),
        **_SCORES,
        "selection": (str, "the rule that the removal order follows"),
        "removal_order": (list, "removable blocks, the least important first"),
        "removed_sets": (list | None, "with beam_search the sets of 1, 2, ... blocks that are removed instead"),
        "removal_orders": (dict, "rule -> its removal order"),
        "spearman_between_halves": (float | None, "rank correlation of the scores of two halves of the questions"),
        **_AGREEMENT,
        "datasets": (dict, "dataset -> its own scores, as in its file"),
    },
)

SELECTION = Document(
    "selection",
    "results/importance/selection/{dataset}.json",
    "Accuracy against the number of blocks kept, for each rule, on questions of the profile split.",
    {
        "num_samples": (int, "questions"),
        "accuracy": (dict, "rule -> blocks kept -> {value, low, high}, 95 %"),
        **_AGREEMENT,
        **_FAILED,
    },
)
