"""The questions and images of a split."""

from adamolmo.files.columns import IDS
from adamolmo.files.schema import Column, Table

SAMPLES = Table(
    "samples",
    "results/data/{dataset}/{split}.parquet",
    "One row per question of a split (importance, profile or evaluation), with the image itself.",
    ("sample_id",),
    {
        **IDS,
        "image": Column("bytes", "the image file (PNG, JPEG, ...)"),
        "question": Column("text", "the question, without prompt"),
        "answers": Column("texts", "reference answers, at least one"),
    },
)
