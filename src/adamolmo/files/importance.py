"""The importance of the blocks: scores by dataset and rule, the ranking, what each ranking keeps."""

from typing import ClassVar

from pydantic import Field

from adamolmo.files.documents import Document, Failed, Part
from adamolmo.statistics.interval import Interval

Scores = dict[str, float]  # by block
Blocks = tuple[int, ...]

_NUM_SAMPLES = "questions"
_BASELINE = "accuracy with all blocks"
_MODEL = "checksum of the model that was scored"
_AGREEMENT = "rule -> how far its scores agree with themselves"
_FAILED = "samples that could not be used"


class BlockScores(Part):
    """How much each block matters by one rule."""

    scores: Scores = Field(description="block -> how much it matters: by accuracy drop, what is lost without it")
    half_scores: tuple[Scores, Scores] = Field(description="the same on the questions about every other image, twice")


class Agreement(Part):
    """Rank correlations of the scores of one rule; null where all scores of one side are equal."""

    between_halves: float | None = Field(description="rank correlation of the scores of the halves; null: all equal")
    between_datasets: dict[str, float | None] = Field(description="'one dataset, another' -> that of their scores")


class DatasetImportance(BlockScores, Document):
    """What skipping one block costs on one dataset."""

    path: ClassVar[str] = "results/importance/{dataset}.json"

    num_samples: int = Field(description=_NUM_SAMPLES)
    baseline_accuracy: float = Field(description=_BASELINE)
    failed: tuple[Failed, ...] = Field(description=_FAILED)


class InternalScores(Document):
    """Scores of the blocks from inside the model, to compare accuracy drops with."""

    path: ClassVar[str] = "results/importance/internal/{dataset}.json"

    num_samples: int = Field(description=_NUM_SAMPLES)
    rules: dict[str, BlockScores] = Field(description="rule -> its scores")
    failed: tuple[Failed, ...] = Field(description=_FAILED)


class BeamSearch(Document):
    """The best sets of blocks to remove together; every dataset counts alike."""

    path: ClassVar[str] = "results/importance/beam_search.json"

    model_checksum: str = Field(description="checksum of the model that was searched")
    num_samples: int = Field(description=_NUM_SAMPLES)
    baseline_accuracy: float = Field(description=_BASELINE)
    width: int = Field(description="sets of a size from which larger ones are made")
    sets_tried: int = Field(description="sets answered")
    removed_sets: tuple[Blocks, ...] = Field(description="the best set of 1, 2, ... blocks")
    accuracies: tuple[float, ...] = Field(description="accuracy without each of these sets")


class Importance(Document):
    """The ranking of the blocks; every dataset counts alike."""

    path: ClassVar[str] = "results/importance/scores.json"

    model_checksum: str = Field(description=_MODEL)
    num_blocks: int = Field(description="transformer blocks of the model")
    num_samples: int = Field(description=_NUM_SAMPLES)
    baseline_accuracy: float = Field(description=_BASELINE)
    scores: Scores = Field(description="block -> accuracy drop when that block is skipped")
    selection: str = Field(description="the rule that the removal order follows")
    removal_order: Blocks = Field(description="removable blocks, the least important first")
    removed_sets: tuple[Blocks, ...] | None = Field(
        description="with beam_search the sets of 1, 2, ... blocks that are removed instead"
    )
    removal_orders: dict[str, Blocks] = Field(description="rule -> its removal order")
    spearman_between_halves: float | None = Field(
        description="rank correlation of the scores of two halves of the questions"
    )
    agreement: dict[str, Agreement] = Field(description=_AGREEMENT)
    datasets: dict[str, DatasetImportance] = Field(description="dataset -> its own scores, as in its file")


class Selection(Document):
    """Accuracy against the number of blocks kept, for each rule, on questions of the profile split."""

    path: ClassVar[str] = "results/importance/selection/{dataset}.json"

    num_samples: int = Field(description=_NUM_SAMPLES)
    accuracy: dict[str, dict[str, Interval]] = Field(description="rule -> blocks kept -> accuracy")
    agreement: dict[str, Agreement] = Field(description=_AGREEMENT)
    failed: tuple[Failed, ...] = Field(description=_FAILED)
