"""What figures, tables and pages are made from: the name of each input, and how its files are read."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from adamolmo.core_exp.reading import read_profiles
from adamolmo.files.columns import IDS, KNOBS, STAGES
from adamolmo.files.comparisons import COMPARISONS, EQUAL_LATENCY, HYPERVOLUMES, PROMISES, REGRET
from adamolmo.files.core_exp import CORE_EXP
from adamolmo.files.documents import Document, read_json
from adamolmo.files.evaluation import EVALUATION, CellSummary
from adamolmo.files.importance import Importance
from adamolmo.files.many import all_of
from adamolmo.files.model import Manifest
from adamolmo.files.policy import PolicyCard
from adamolmo.files.schema import Table, read_table
from adamolmo.files.summary import SUMMARY
from adamolmo.files.training import RELIABILITY, TRAINING

Reader = Callable[[Sequence[Path]], Any]

_PROFILE = ["dataset", *IDS, *KNOBS, "accuracy", "latency_ms", *STAGES, "latency_iqr_ms", "latency_source"]


def _table(schema: Table) -> Reader:
    return lambda paths: read_table(*paths, schema)[0]


def _document(kind: type[Document]) -> Reader:
    return lambda paths: read_json(*paths, kind)


def _stream(path: Path) -> pd.DataFrame:
    columns = ["request", "margin", "slowdown", "latency_ms", "budget_met"]
    cell = read_json(path.with_suffix(".json"), CellSummary)
    of_cell = {key: getattr(cell, key) for key in ("dataset", "controller", "budget", "budget_ms")}
    return read_table(path, EVALUATION, columns)[0].assign(**of_cell)


READERS: Mapping[str, Reader] = {
    "summary": _table(SUMMARY),
    "comparisons": _table(COMPARISONS),
    "equal_latency": _table(EQUAL_LATENCY),
    "promises": _table(PROMISES),
    "hypervolumes": _table(HYPERVOLUMES),
    "regret": _table(REGRET),
    "scores": _document(Importance),
    "manifest": _document(Manifest),
    # The requests of cells that promise something, with dataset, controller and budget of their cell; `files.many`.
    "streams": lambda texts: pd.concat(map(_stream, all_of(str(*texts))), ignore_index=True),
    "profile": lambda paths: read_profiles(paths, _PROFILE)[0],
    # Every configuration on the evaluation split.
    "grid": lambda paths: read_profiles(paths, _PROFILE)[0],
    # Per dataset the metadata of its profile.
    "timing": lambda paths: {path.stem: read_table(path, CORE_EXP, ["dataset"])[1] for path in paths},
    # Per learned controller its log, and what its policy says of its training.
    "training": lambda paths: {path.parent.name: read_table(path, TRAINING)[0] for path in paths},
    "trained": lambda paths: {path.parent.name: read_json(path, PolicyCard).training for path in paths},
    # Per predictor, how its probabilities came true.
    "reliability": lambda paths: {path.parent.name: read_table(path, RELIABILITY)[0] for path in paths},
}


def add_inputs(parser: ArgumentParser, *names: str, optional: Iterable[str] = ()) -> None:
    """An option for the files of each of these inputs, and one for the titles of the datasets."""
    for name in (*names, *optional):
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, nargs="+", required=name in names)
    parser.add_argument("--titles", type=json.loads, required=True, help="what readers see of each dataset, by name")


def read_inputs(args: Namespace) -> dict[str, Any]:
    """The content of every input whose files the command line names, datasets under their titles. Raises AdaMolmoError
    for an unusable file."""
    found = {name: read(paths) for name, read in READERS.items() if (paths := getattr(args, name, None))}
    return {name: _titled(content, args.titles) for name, content in found.items()}


def _titled(content: Any, titles: Mapping[str, str]) -> Any:
    """The same with the titles of its datasets instead of their names."""
    if isinstance(content, pd.DataFrame) and "dataset" in content:
        return content.assign(dataset=content["dataset"].map(lambda name: titles.get(name, name)))
    if isinstance(content, Importance):
        return content.model_copy(update={"datasets": _titled(content.datasets, titles)})
    if isinstance(content, Mapping) and content.keys() <= titles.keys():
        return {titles[name]: value for name, value in content.items()}
    return content
