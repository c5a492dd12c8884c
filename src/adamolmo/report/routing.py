"""The study as data for research on routing, in the layouts of its benchmarks: what every configuration answered on
every question, how right that was, and how long it took.

    routerbench.parquet                   RouterBench's table (Hu et al., 2024, arXiv 2403.12031), a row per question:
                                          sample_id, prompt, eval_name, each model's score, `|model_response` and
                                          `|total_cost`; oracle_model_to_route_to. As Parquet: a pickle runs code
    BENCHMARKS/, SPLITS/, ORACLE/score/,  VL-RouterBench's (Huang et al., 2025, arXiv 2512.23562): questions with their
    data/, EMBEDDINGS/                    pictures, quality Y and cost C [questions, models], embeddings by sample_id

Their models are knob configurations here, and cost, in money there, is a request's latency in milliseconds. Train is
the profile split, whose latencies were measured as far as `measured` says; test is the evaluation split, whose
latencies the profile lets expect. A score counts as correct (Y) from RIGHT_FROM on.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from adamolmo.evaluation.requests import RIGHT_FROM
from adamolmo.files.columns import KNOBS
from adamolmo.files.documents import parse_json
from adamolmo.files.features import FeaturesInfo
from adamolmo.files.tensors import read_tensors
from adamolmo.knobs import KnobConfig

TRAIN, TEST = "train", "test"
_NOBODY = "no_model_correct"  # as RouterBench says it
_EMBEDDINGS = {"question": "text", "overview": "vision"}  # features of the study -> their place


@dataclass(frozen=True)
class Routing:
    """Attributes:
    questions: sample_id, dataset, split, image_id, image, question and answers of each, [n].
    models: configurations, cheapest first, [m].
    response, score, latency_ms: [n, m].
    measured: whether the latency was measured, [n, m].
    """

    questions: pd.DataFrame
    models: tuple[str, ...]
    response: np.ndarray
    score: np.ndarray
    latency_ms: np.ndarray
    measured: np.ndarray

    @property
    def cheapest_correct(self) -> list[str]:
        """The correct model that takes least time, by question."""
        latency_ms = np.where(self.score >= RIGHT_FROM, self.latency_ms, np.inf)
        found = zip(latency_ms.argmin(axis=1), np.isfinite(latency_ms).any(axis=1), strict=True)
        return [self.models[model] if any_correct else _NOBODY for model, any_correct in found]


def collect(outcomes: Mapping[str, pd.DataFrame], samples: Mapping[str, Mapping[str, pd.DataFrame]]) -> Routing:
    """Args:
    outcomes: rows of core_exp of all datasets, by split: TRAIN, TEST.
    samples: rows of the table `samples` by split and dataset.
    """
    rows = pd.concat([table.assign(split=split) for split, table in outcomes.items()], ignore_index=True)
    rows["sample_id"] = sample_ids(rows["dataset"], rows["split"], rows["sample_id"])
    rows["model"] = [str(KnobConfig(*knobs)) for knobs in zip(*(rows[knob] for knob in KNOBS), strict=True)]
    models = tuple(rows.groupby("model")["latency_ms"].mean().sort_values(kind="stable").index)
    questions = pd.concat(
        [
            table.assign(dataset=dataset, split=split, sample_id=sample_ids(dataset, split, table["sample_id"]))
            for split, of_split in samples.items()
            for dataset, table in of_split.items()
        ],
        ignore_index=True,
    )
    asked = rows["sample_id"].unique()  # without those whose picture is unreadable
    questions = questions[questions["sample_id"].isin(asked)].sort_values("sample_id", ignore_index=True)

    def matrix(values: pd.Series) -> np.ndarray:
        wide = rows.assign(value=values).pivot(index="sample_id", columns="model", values="value")
        return wide.loc[questions["sample_id"], list(models)].to_numpy()

    return Routing(
        questions,
        models,
        response=matrix(rows["prediction"]),
        score=matrix(rows["accuracy"]),
        latency_ms=matrix(rows["latency_ms"]),
        measured=matrix(rows["latency_source"] == "measured"),
    )


def sample_ids(dataset: str | pd.Series, split: str | pd.Series, sample_id: pd.Series) -> pd.Series:
    """Unique among all datasets and splits, as both benchmarks want them."""
    return dataset + "/" + split + "/" + sample_id


def write_routerbench(routing: Routing, path: Path) -> None:
    questions, columns = routing.questions, {}
    for place, model in enumerate(routing.models):
        columns[model] = routing.score[:, place].astype(float)
        columns[f"{model}|model_response"] = routing.response[:, place]
        columns[f"{model}|total_cost"] = routing.latency_ms[:, place].astype(float)
        columns[f"{model}|measured"] = routing.measured[:, place].astype(bool)
    named = {"sample_id": "sample_id", "question": "prompt", "dataset": "eval_name", "split": "split"}
    table = pd.concat([questions[list(named)].rename(columns=named), pd.DataFrame(columns)], axis=1)
    table.assign(oracle_model_to_route_to=routing.cheapest_correct).to_parquet(path, index=False)


def write_vl_routerbench(routing: Routing, features: Sequence[Path], folder: Path) -> None:
    """Args:
    features: the study's, of questions of the profile split.
    """
    questions, correct = routing.questions, (routing.score >= RIGHT_FROM).astype(np.int8)
    for dataset, of_dataset in questions.groupby("dataset"):
        _write_lines(folder / f"BENCHMARKS/{dataset}/{dataset}_samples.jsonl", _samples(of_dataset, folder))
        rows = of_dataset.index
        scores = {
            "sample_id": np.repeat(of_dataset["sample_id"].to_numpy(), len(routing.models)),
            "model_id": np.tile(routing.models, len(rows)),
            "quality": correct[rows].ravel(),
        }
        pd.DataFrame(scores).to_parquet(_made(folder / f"ORACLE/score/{dataset}.parquet"), index=False)
    for split, of_split in questions.groupby("split"):
        _write_lines(folder / f"SPLITS/{split}.jsonl", ({"sample_id": name} for name in of_split["sample_id"]))
    _write_matrices(routing, correct, folder / "data")
    for name, place in _EMBEDDINGS.items():
        table = pd.concat([_embeddings(path, name) for path in features], ignore_index=True)
        table.to_parquet(_made(folder / f"EMBEDDINGS/{place}/{name}.parquet"), index=False)


def _write_matrices(routing: Routing, correct: np.ndarray, data: Path) -> None:
    np.savez_compressed(_made(data / "matrices/Y.npz"), Y=correct)
    np.save(data / "matrices/C.npy", routing.latency_ms.astype(float))
    np.save(data / "matrices/measured.npy", routing.measured.astype(bool))
    bounds = {"cmin": float(routing.latency_ms.min()), "cmax": float(routing.latency_ms.max()), "unit": "ms"}
    (data / "matrices/cost_bounds.json").write_text(json.dumps(bounds))
    meta = routing.questions[["sample_id", "dataset", "split", "image_id", "question"]]
    meta.to_parquet(_made(data / "registry/meta.parquet"), index=False)
    (data / "registry/models.txt").write_text("".join(f"{model}\n" for model in routing.models))
    named = {"models": [{"name": model} for model in routing.models]}
    (data / "registry/models.json").write_text(json.dumps(named, indent=1))


def _samples(questions: pd.DataFrame, folder: Path) -> Iterator[dict]:
    """The lines of one dataset; their pictures are written once each."""
    for row in questions.itertuples():
        name = f"BENCHMARKS/{row.dataset}/images/{hashlib.sha256(row.image).hexdigest()[:16]}"
        if not (folder / name).exists():
            _made(folder / name).write_bytes(row.image)
        yield {
            "sample_id": row.sample_id,
            "dataset": row.dataset,
            "prompt": row.question,
            "answers": list(row.answers),
            "assets": [{"type": "image", "path": name}],
        }


def _embeddings(path: Path, name: str) -> pd.DataFrame:
    tensors, metadata = read_tensors(path)
    info = parse_json(json.dumps(metadata), FeaturesInfo, path)
    names = sample_ids(info.dataset, TRAIN, pd.Series(info.sample_ids))
    return pd.DataFrame({"sample_id": names, "embedding": list(tensors[name].numpy())})  # [questions, width]


def _write_lines(path: Path, lines: Iterator[dict]) -> None:
    _made(path).write_text("".join(json.dumps(line) + "\n" for line in lines))


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
