"""The questions: the sections `datasets` and `samples`."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from adamolmo.config.values import Count, Name, Section, Text, Title
from adamolmo.errors import printable, quoted

MOST_MEGAPIXELS = 178  # Pillow itself refuses more
# A column in the path of an image, and how many digits it has there.
IN_PATH = re.compile(r"{([^{}:]+)(?::0?(\d{1,2}))?}")
# Sources whose tables hold text: an image is a path or base64.
TEXT_SOURCES = ("csv", "json")


def _columns(value: Any) -> Any:
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name and printable(name) == name for name in names):
        raise ValueError(f"{quoted(value)} is neither a column nor a list of columns")
    if len(set(names)) < len(names):
        raise ValueError(f"{quoted(value)} names a column twice")
    return value


class SplitSettings(Section):
    """Which split of the dataset each study split is drawn from. Where two name the same one, it is shared out by
    image, importance : profile : evaluation as 1 : 6 : 3; a share that does not suffice takes of the others'."""

    importance: Text | None = Field(None, description="the dataset's split for `importance`; null for all its files")
    profile: Text | None = Field(None, description="the dataset's split for `profile`; null for all its files")
    evaluation: Text | None = Field(None, description="the dataset's split for `evaluation`; null for all its files")


class ColumnSettings(Section):
    """Names of a dataset's columns; `a.b` is field b of column a, and of all entries if a is a list. A question that is
    such a field gives one sample per entry."""

    question: Text = Field("question", description="column of the question")
    image: Text = Field(
        "image",
        description="column of the image file's bytes, plain or as the Hub's image type; csv and json: of its path or "
        "base64 text, or a path that is made of columns: images/{image_id:012}.jpg",
    )
    answers: Text = Field(
        "answers", description="column of the answer or answers; with options, the right one's number, letter or text"
    )
    options: Annotated[str | list[str], BeforeValidator(_columns)] | None = Field(
        None,
        description="column of the options of a multiple-choice question, or the columns of one each: [A, B, C, D]",
    )
    context: Text | None = Field(None, description="column of a text put before the question")
    question_id: Text | None = Field(None, description="column of the question's id; null takes file and row")
    image_id: Text | None = Field(None, description="column of the image's id; null takes a hash of the image")

    def named(self) -> Iterator[tuple[str, str]]:
        """(key, column) for every column that something is read from."""
        for key, value in self:
            columns = [value] if isinstance(value, str) else value or []
            for column in columns:
                made_of = [name for name, _ in IN_PATH.findall(column)] if key == "image" else []
                yield from ((key, name) for name in made_of or [column])


class OwnSampleSettings(Section):
    """Samples of one dataset, where they are not those of the section `samples`."""

    importance: Count | None = Field(None, description="instead of samples.importance")
    profile: Count | None = Field(None, description="instead of samples.profile")
    evaluation: Count | None = Field(None, description="instead of samples.evaluation")


class DatasetSettings(Section):
    """One visual question answering dataset."""

    source: Literal["procedural", "hub", "parquet", "csv", "json", "arrow"] = Field(
        description="where the samples come from: 'procedural' draws them by seed, 'hub' is a dataset of the Hugging "
        "Face Hub; files on this machine are 'parquet', 'csv' (or TSV), 'json' (a record a line, or one list) or "
        "'arrow' (what `save_to_disk` of datasets writes)"
    )
    path: Text | None = Field(
        None,
        description="hub: the repository, owner/name; others: a file, or a folder of files, seen from where Snakemake "
        "runs",
    )
    package: Text | None = Field(
        None,
        description="files that come with a Python package: its name (`easy_vqa`). `path` is then seen from the "
        "package's folder",
    )
    config: Text | None = Field(None, description="the dataset's configuration, a folder of its files")
    splits: SplitSettings = Field(SplitSettings(), description="the dataset's splits; none: all its files, shared out")
    columns: ColumnSettings = Field(ColumnSettings(), description="the dataset's columns")
    title: Title | None = Field(
        None,
        description="what figures, tables and pages call the dataset; null: its name, of a procedural dataset with "
        "'(drawn)' behind it, because it only imitates the benchmark of that name",
    )
    style: Name | None = Field(description="style prefix of the prompt (' User: {style}: ...'); null for none")
    scorer: Literal["vqa", "anls", "multiple_choice", "count"] = Field(
        description="how an answer is scored: VQA soft accuracy, normalised edit distance, the right option, or the "
        "right number"
    )
    samples: OwnSampleSettings = Field(OwnSampleSettings(), description="numbers of samples of this dataset alone")
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
        if self.package and self.source in ("procedural", "hub"):
            raise ValueError(f"source '{self.source}' has no 'package'; set it to null, or expected a source of files")
        if IN_PATH.search(self.columns.image) and self.source not in TEXT_SOURCES:
            raise ValueError(
                f"columns.image is '{self.columns.image}', a path; source '{self.source}' holds the images themselves, "
                "expected their column"
            )
        if (self.scorer == "multiple_choice") != bool(self.columns.options):  # answers have a letter and a text each
            has = "are set" if self.columns.options else "are not"
            raise ValueError(
                f"scorer is '{self.scorer}' and columns.options {has}; expected 'multiple_choice' with options alone"
            )
        return self


class SampleSettings(Section):
    """Samples per dataset and split, if not in `datasets.X.samples`; the splits share no image, by its pixels."""

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
