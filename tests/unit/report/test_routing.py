"""What readers of RouterBench and VL-RouterBench find is what the study has, question by question."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from adamolmo.files.features import FeaturesInfo
from adamolmo.files.tensors import write_tensors
from adamolmo.report.routing import TEST, TRAIN, Routing, collect, write_routerbench, write_vl_routerbench

CONFIGS = {"low-k4-b12": ("low", 4, 12), "high-k8-b16": ("high", 8, 16)}
DATASETS = ("okvqa", "text_vqa")
NUMBER = {TRAIN: 3, TEST: 2}


def outcomes(split: str) -> pd.DataFrame:
    """The dear configuration is right on every question but the first, the cheap one on the last alone."""
    rows = []
    for dataset in DATASETS:
        for place, (tier, top_k, blocks) in enumerate(CONFIGS.values()):
            for i in range(NUMBER[split]):
                right = i > 0 if tier == "high" else i == NUMBER[split] - 1
                knobs = {"tier": tier, "top_k": top_k, "num_active_blocks": blocks}
                found = {"prediction": f"{dataset} {split} {tier} {i}", "accuracy": 0.6 if right else 0.3}
                source = "measured" if split == TRAIN and i == 0 else "estimated"
                latency = {"latency_ms": 10.0 + 5 * place + i, "latency_source": source}
                rows.append({"dataset": dataset, "sample_id": f"q{i}", **knobs, **found, **latency})
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def samples(dataset: str, split: str) -> pd.DataFrame:
    """One question more than was answered: its picture is unreadable."""
    names = [f"q{i}" for i in range(NUMBER[split] + 1)]
    asked = {"question": [f"{dataset} {split} {name} ?" for name in names], "answers": [["a", "b"]] * len(names)}
    pictures = {"image_id": "../odd", "image": [f"{dataset} {split}".encode()] * len(names)}
    return pd.DataFrame({"sample_id": names, **pictures, **asked})


@pytest.fixture
def routing() -> Routing:
    by_split = {split: {dataset: samples(dataset, split) for dataset in DATASETS} for split in NUMBER}
    return collect({split: outcomes(split) for split in NUMBER}, by_split)


def test_routerbench_has_every_outcome(routing, tmp_path):
    write_routerbench(routing, tmp_path / "table.parquet")
    table = pd.read_parquet(tmp_path / "table.parquet").set_index("sample_id")
    assert len(table) == len(DATASETS) * sum(NUMBER.values())
    for split in NUMBER:
        for row in outcomes(split).itertuples():
            found = table.loc[f"{row.dataset}/{split}/{row.sample_id}"]
            model = f"{row.tier}-k{row.top_k}-b{row.num_active_blocks}"
            assert (found["eval_name"], found["split"]) == (row.dataset, split)
            assert found["prompt"] == f"{row.dataset} {split} {row.sample_id} ?"
            assert found[model] == row.accuracy
            assert found[f"{model}|model_response"] == row.prediction
            assert found[f"{model}|total_cost"] == row.latency_ms
            assert found[f"{model}|measured"] == (row.latency_source == "measured")
    oracle = table.loc["okvqa/train/q0":"okvqa/train/q2", "oracle_model_to_route_to"]
    assert oracle.tolist() == ["no_model_correct", "high-k8-b16", "low-k4-b12"]


def test_vl_routerbench_has_every_outcome(routing, tmp_path):
    """Read as its loaders do: matrices in the order of the registry, samples by their ids."""
    features = tmp_path / "okvqa.safetensors"
    info = FeaturesInfo(
        dataset="okvqa",
        model_checksum="abc",
        fixed_prefix_layers=3,
        kv_width=4,
        sample_ids=("q0", "q1", "q2"),
        tiers=("low", "high"),
    )
    tensors = {"question": torch.arange(12.0).reshape(3, 4), "overview": torch.ones(3, 6)}
    write_tensors(tensors, features, info.model_dump())
    folder = tmp_path / "routing"
    write_vl_routerbench(routing, [features], folder)

    correct, latency_ms = np.load(folder / "data/matrices/Y.npz")["Y"], np.load(folder / "data/matrices/C.npy")
    meta = pd.read_parquet(folder / "data/registry/meta.parquet")
    models = (folder / "data/registry/models.txt").read_text().split()
    assert correct.shape == latency_ms.shape == (len(meta), len(models))
    lines = [line for path in folder.glob("BENCHMARKS/*/*_samples.jsonl") for line in path.read_text().splitlines()]
    by_id = {sample["sample_id"]: sample for sample in map(json.loads, lines)}
    splits = {
        split: [json.loads(line)["sample_id"] for line in (folder / f"SPLITS/{split}.jsonl").read_text().splitlines()]
        for split in NUMBER
    }
    rows = {name: row for row, name in enumerate(meta["sample_id"])}
    assert set(by_id) == set(rows) == set(splits[TRAIN]) | set(splits[TEST])
    scores = pd.concat(map(pd.read_parquet, folder.glob("ORACLE/score/*.parquet"))).set_index(["sample_id", "model_id"])
    for split in NUMBER:
        for row in outcomes(split).itertuples():
            name, model = f"{row.dataset}/{split}/{row.sample_id}", f"{row.tier}-k{row.top_k}-b{row.num_active_blocks}"
            place = rows[name], models.index(model)
            assert correct[place] == scores.loc[(name, model), "quality"] == (row.accuracy >= 0.5)
            assert latency_ms[place] == row.latency_ms
            assert name in splits[split]
            assert by_id[name]["prompt"] == f"{row.dataset} {split} {row.sample_id} ?"
            (asset,) = by_id[name]["assets"]
            assert (folder / asset["path"]).read_bytes() == f"{row.dataset} {split}".encode()
    embeddings = pd.read_parquet(folder / "EMBEDDINGS/text/question.parquet").set_index("sample_id")["embedding"]
    assert embeddings["okvqa/train/q1"].tolist() == [4, 5, 6, 7]
    assert set(embeddings.index) <= set(splits[TRAIN])
