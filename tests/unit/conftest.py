"""What the tests of all learned controllers train on, and what a study of the tiny model leaves behind."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import yaml
from made_documents import importance, reference
from PIL import Image
from policies import tiny_features, tiny_prefix, training_set, with_twins, write_tables

from adamolmo.controllers.response import spent
from adamolmo.controllers.table import Entry, LookupTable
from adamolmo.controllers.training.training_set import TrainingSet
from adamolmo.core_exp.expected_latency import ExpectedLatency
from adamolmo.files.documents import read_json, write_json
from adamolmo.files.governor import ConfigLatency, config_latency_path
from adamolmo.files.model import Manifest
from adamolmo.knobs import KnobGrid


@pytest.fixture(scope="session")
def profiled(make_tiny_engine, tiny_model, tiny_samples, tmp_path_factory) -> tuple:
    """The tiny samples and their twins, their features and the prefix."""
    samples = with_twins(tiny_samples)
    features = tiny_features(make_tiny_engine(), samples, tmp_path_factory.mktemp("features"))
    return samples, features, tiny_prefix(tiny_model)


@pytest.fixture(scope="session")
def data(profiled) -> Callable[[Callable], TrainingSet]:
    """A training set for any accuracy(sample index, config); its rows are the tiny samples and their twins."""
    samples, features, prefix = profiled
    return lambda accuracy: training_set(samples, accuracy, features, prefix)


@pytest.fixture
def study(tiny_model_dir, tmp_path, tiny_samples, monkeypatch, pytestconfig):
    """A directory with config.yaml, results/ (all that requests need) and picture.png, made the working directory."""
    results = tiny_model_dir.parent
    raw = yaml.safe_load((pytestconfig.rootpath / "config.yaml").read_text())
    raw["model"]["checkpoint"] = "results/model"
    raw["knobs"] = {
        "tiers": {"low": {"min_crops": 1, "max_crops": 1}, "high": {"min_crops": 1, "max_crops": 4}},
        "top_k": [2, 4],
        "num_active_blocks": [5, 7],
    }
    raw["datasets"] = {"okvqa": {"source": "procedural", "style": "tiny", "scorer": "vqa"}}
    raw["max_new_tokens"] = 4
    raw["latency"]["clock"] = "modelled"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    (results / "importance").mkdir()
    checksum = read_json(tiny_model_dir / "manifest.json", Manifest).checksum
    write_json(importance(model_checksum=checksum), results / "importance" / "scores.json")
    (results / "core_exp").mkdir()
    write_json(reference(median_latency_ms=4.0, clock="modelled"), results / "core_exp" / "okvqa.reference.json")
    grid = KnobGrid(("low", "high"), (2, 4), (5, 7))
    means_ms = {config: 1.0 + 0.5 * rank for rank, config in enumerate(grid.configs)}
    entries = [Entry(config, 0.1 * rank, ms, 9) for rank, (config, ms) in enumerate(means_ms.items())]
    expected = ExpectedLatency(np.repeat([0, 1], 4), np.full(8, 1.0), np.full(8, 0.1), np.zeros(8))
    write_tables(results, LookupTable(entries), expected, grid)
    spent_by = {str(config): spent(np.linspace(0.9, 1.1, 21) * ms) for config, ms in means_ms.items()}
    write_json(ConfigLatency(configurations=spent_by), results / config_latency_path("okvqa"))
    Image.open(io.BytesIO(tiny_samples[0].image)).save(tmp_path / "picture.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path
