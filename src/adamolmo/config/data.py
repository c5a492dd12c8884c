"""The questions: the sections `datasets` and `samples`."""

from typing import Literal

from pydantic import Field, model_validator

from adamolmo.config.values import Count, Name, Section, Text

MOST_MEGAPIXELS = 178  # Pillow itself refuses more


class SplitSettings(Section):
    """Which split of the dataset each study split is drawn from. Where two name the same one, it is shared out by image
    (importance : profile : evaluation as 1 : 6 : 3)."""

    importance: Text | None = Field(None, description="the dataset's split for `importance`; null for all its files")
    profile: Text | None = Field(None, description="the dataset's split for `profile`; null for all its files")
    evaluation: Text | None = Field(None, description="the dataset's split for `evaluation`; null for all its files")


class ColumnSettings(Section):
    """Names of a dataset's columns; `a.b` is field b of column a, and of all entries if a is a list. A question that is
    such a field gives one sample per entry."""

    question: Text = Field("question", description="column of the question")
    image: Text = Field("image", description="column of the image file's bytes, plain or as the Hub's image type")
    answers: Text = Field(
        "answers", description="column of the answer or answers; with options, the right one's number, letter or text"
    )
    options: Text | None = Field(None, description="column of the options of a multiple-choice question")
    context: Text | None = Field(None, description="column of a text put before the question")
    question_id: Text | None = Field(None, description="column of the question's id; null takes file and row")
    image_id: Text | None = Field(None, description="column of the image's id; null takes a hash of the image")


class DatasetSettings(Section):
    """One visual question answering dataset."""

    source: Literal["procedural", "hub", "parquet"] = Field(
        description="where the samples come from: 'procedural' draws them by seed, 'hub' is a dataset of the Hugging "
        "Face Hub, 'parquet' is files on this machine"
    )
    path: Text | None = Field(
        None,
        description="hub: the repository, owner/name; parquet: a file, or a folder of files, seen from where Snakemake "
        "runs",
    )
    config: Text | None = Field(None, description="the dataset's configuration, a folder of its Parquet files")
    splits: SplitSettings = Field(SplitSettings(), description="the dataset's splits; none: all its files, shared out")
    columns: ColumnSettings = Field(ColumnSettings(), description="the dataset's columns")
    style: Name | None = Field(description="style prefix of the prompt (' User: {style}: ...'); null for none")
    scorer: Literal["vqa", "anls", "multiple_choice", "count"] = Field(
        description="how an answer is scored: VQA soft accuracy, normalised edit distance, the right option, or the "
        "right number"
    )
    used_for: list[Literal["importance", "training"]] = Field(
        [],
        description="what the dataset is used for besides its own profile, tables and cells: 'importance', to rank the "
        "blocks; 'training', to train the controllers. Where no dataset names one of them, all are used for it",
    )

    @model_validator(mode="after")
    def _check(self) -> "DatasetSettings":
        if self.source != "procedural" and self.path is None:
            raise ValueError(f"source '{self.source}' needs the key 'path'")
        if self.source == "procedural" and (self.path or self.config):
            raise ValueError(
                "source 'procedural' has no 'path' or 'config'; set them to null, or expected another source"
            )
        return self


class SampleSettings(Section):
    """Samples per dataset and split; the splits share no image, by its pixels."""

    importance: Count = Field(description="samples that score the importance of the blocks")
    profile: Count = Field(description="samples of core_exp, from which tables and controllers are made")
    evaluation: Count = Field(description="samples on which every cell is evaluated")
    max_megapixels: float = Field(
        50,
        gt=0,
        le=MOST_MEGAPIXELS,
        description="images with more pixels, in millions, are not decoded: their samples count as unreadable. A "
        "request takes about 25 MB for each million",
    )

    @property
    def max_pixels(self) -> int:
        return int(self.max_megapixels * 1e6)
