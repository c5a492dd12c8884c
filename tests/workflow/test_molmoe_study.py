"""config/molmoe-1b.yaml: planned as it stands; run whole and offline on a small checkpoint and data in a Hub cache."""

import shutil
from itertools import islice
from pathlib import Path

import hub_cache
import pytest
import torch
from mini_study import MINI, ROOT, Study, only_error

from adamolmo.config import StudyConfig
from adamolmo.data.procedural import GENERATORS
from adamolmo.data.sources import procedural_samples
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import read_table
from adamolmo.files.summary import SUMMARY
from adamolmo.model.checkpoint import load_model

MOLMOE = ROOT / "config" / "molmoe-1b.yaml"
FULL = (ROOT / "config.yaml", MOLMOE)
# The study as configured, but small and without a GPU.
SMALL = """
model: {dtype: float32, device: cpu}
knobs:
  tiers:
    low: {max_crops: 1}
    high: {max_crops: 4}
budgets: [90pct]
controllers: [lookup-mean, two-stage-language]
"""


@pytest.fixture
def offline(tmp_path, monkeypatch) -> Path:
    """An empty Hub cache and no network."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "hub"


def rows_of(dataset: str, split: str, count: int) -> list[dict]:
    """Procedural questions in the columns of the Hub's datasets."""
    return [
        {
            "question_id": f"{split}-{sample['sample_id']}",
            "image_id": f"{split}-{sample['image_id']}",
            "image": {"bytes": sample["image"], "path": None},
            "question": sample["question"],
            "answers": sample["answers"],
        }
        for sample in islice(procedural_samples(dataset, split, 0), count)
    ]


def fill_cache(cache: Path) -> None:
    """The embedded model in the released format, in shards; text_vqa with two splits, okvqa with one."""
    model = load_model(ROOT / "resources" / "embedded")
    folder = hub_cache.repository(cache, "model", "allenai/MolmoE-1B-0924")
    hub_cache.write_released_checkpoint(folder, model, shards=3, dtype=torch.float32)
    shutil.copy(ROOT / "resources/embedded/tokenizer.json", folder)
    (folder / "modeling_molmoe.py").write_text("raise SystemExit('remote code ran')")
    text_vqa = hub_cache.repository(cache, "dataset", "lmms-lab-encoder/textvqa") / "data"
    for shard in range(2):
        rows = rows_of("text_vqa", f"train{shard}", 60)
        hub_cache.write_rows(text_vqa / f"train-{shard:05d}-of-00002.parquet", rows)
    hub_cache.write_rows(text_vqa / "validation-00000-of-00001.parquet", rows_of("text_vqa", "validation", 12))
    okvqa = hub_cache.repository(cache, "dataset", "lmms-lab-encoder/OK-VQA") / "data"
    hub_cache.write_rows(okvqa / "val2014-00000-of-00001.parquet", rows_of("okvqa", "val2014", 150))


def ids(study: Study, dataset: str, split: str, column: str) -> set[str]:
    return set(read_table(study.path(f"results/data/{dataset}/{split}.parquet"), SAMPLES, [column])[0][column])


def test_the_whole_study_offline(clone, config, offline, tmp_path, monkeypatch):
    if not (ROOT / "resources/embedded/model.safetensors").is_file():
        pytest.skip("resources/embedded has no model.safetensors")
    fill_cache(offline)
    configs = (MOLMOE, ROOT / MINI, config(SMALL))
    fetched = clone.snakemake("--until", "prepare_data", "prepare_model", configs=configs)
    assert fetched.returncode == 0, fetched.output
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))  # nothing else may need the Hub
    result = clone.snakemake("--", "results/plots/pareto.pdf", configs=configs)
    assert result.returncode == 0, result.output
    study = StudyConfig.load(ROOT / "config.yaml", *configs)
    cells = len(study.datasets) * len(study.controllers) * len(study.budgets)
    assert result.planned["evaluate"] == cells
    assert not {"prepare_data", "prepare_model"} & result.planned.keys()

    summary, _ = read_table(clone.path("results/summary.parquet"), SUMMARY)
    assert len(summary) == cells
    assert set(summary["dataset"]) == {"text_vqa", "okvqa"}
    assert clone.path("results/plots/pareto.pdf").is_file()

    prepared, original = load_model(clone.path("results/model")), load_model(ROOT / "resources" / "embedded")
    assert all(torch.equal(t, original.state_dict()[name]) for name, t in prepared.state_dict().items())
    assert all(sample.startswith("train") for sample in ids(clone, "text_vqa", "profile", "sample_id"))
    assert all(sample.startswith("validation") for sample in ids(clone, "text_vqa", "evaluation", "sample_id"))
    images = [ids(clone, "okvqa", split, "image_id") for split in ("importance", "profile", "evaluation")]
    assert all(images) and len(set.union(*images)) == sum(map(len, images))


def test_the_full_study_is_planned(clone):
    """As in `snakemake --configfile config/molmoe-1b.yaml -n`: nothing of the miniature study is in it."""
    study = StudyConfig.load(*FULL)
    plan = clone.plan(configs=FULL)
    assert (plan["prepare_data"], plan["prepare_model"]) == (9, 1)
    assert plan["evaluate"] == 3 * 8 * len(study.controllers)


def test_without_network_and_cache(clone, offline):
    error = only_error(clone.snakemake("--", "results/data/okvqa/profile.parquet", configs=FULL))
    assert error.startswith("datasets.okvqa.path: dataset repository 'lmms-lab-encoder/OK-VQA' cannot be had from the")
    error = only_error(clone.snakemake("--", "results/model/manifest.json", configs=FULL))
    assert error.startswith("model repository 'allenai/MolmoE-1B-0924' cannot be had from the Hugging Face Hub (")
    assert str(offline) in error


def test_a_dataset_of_ones_own(clone, config):
    """A Parquet file and a few lines of configuration; another content of the file makes the samples anew."""
    own = clone.path("own.parquet")
    hub_cache.write_rows(own, rows_of(next(iter(GENERATORS)), "own", 60))
    configs = (config("datasets: {mine: {source: parquet, path: own.parquet, style: null, scorer: vqa}}"),)
    target = "results/data/mine/profile.parquet"
    result = clone.snakemake("--", target, configs=configs)
    assert result.returncode == 0, result.output
    assert len(ids(clone, "mine", "profile", "sample_id")) == 12
    hub_cache.write_rows(own, rows_of(next(iter(GENERATORS)), "other", 60))
    assert clone.snakemake("--dry-run", "--", target, configs=configs).planned == {"prepare_data": 1}
