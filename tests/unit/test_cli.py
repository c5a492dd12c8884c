"""The command line, on a study's results for the tiny model."""

import io
import json
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from adamolmo.cli import main
from adamolmo.config import StudyConfig
from adamolmo.controllers.policy_file import PolicyCard, save_policy
from adamolmo.controllers.single_stage import SingleStagePolicy
from adamolmo.controllers.table import Entry, LookupTable, save_tables
from adamolmo.core_exp import expected_latency
from adamolmo.jobs.loading import describe_study
from adamolmo.knobs import KnobConfig

CONFIG = "config.yaml"
GRID = [KnobConfig(tier, k, b) for tier in ("low", "high") for k in (2, 4) for b in (5, 7)]


@pytest.fixture
def study(tiny_model_dir, tmp_path, tiny_samples, monkeypatch, pytestconfig):
    """A directory with config.yaml, results/ and picture.png, made the working directory."""
    results = tiny_model_dir.parent
    raw = yaml.safe_load((pytestconfig.rootpath / CONFIG).read_text())
    raw["model"]["checkpoint"] = "results/model"
    raw["knobs"] = {
        "tiers": {"low": {"min_crops": 1, "max_crops": 1}, "high": {"min_crops": 1, "max_crops": 4}},
        "top_k": [2, 4],
        "num_active_blocks": [5, 7],
    }
    raw["datasets"] = {"okvqa": {"source": "procedural", "style": "tiny", "scorer": "vqa"}}
    raw["max_new_tokens"] = 4
    raw["latency"]["clock"] = "modelled"
    (tmp_path / CONFIG).write_text(yaml.safe_dump(raw, sort_keys=False))
    manifest = {"checksum": "abc", "num_parameters": 1, "num_blocks": 7, "dtype": "float32"}
    (tiny_model_dir / "manifest.json").write_text(json.dumps(manifest))
    (results / "importance").mkdir()
    scores = {"model_checksum": "abc", "num_blocks": 7, "removal_order": [5, 3]}
    (results / "importance" / "scores.json").write_text(json.dumps(scores))
    reference = {
        "config": "high-k4-b7",
        "median_latency_ms": 4.0,
        "lowest_median_latency_ms": 1.0,
        "reference_request_ms": None,
        "device": {},
        "clock": "modelled",
    }
    (results / "core_exp").mkdir()
    (results / "core_exp" / "okvqa.reference.json").write_text(json.dumps(reference))
    entries = [Entry(config, 0.1 * rank, 1.0 + 0.5 * rank, 9) for rank, config in enumerate(GRID)]
    (results / "lookup").mkdir()
    save_tables({"okvqa": LookupTable(entries, {})}, results / "lookup" / "mean.json")
    of_size = {"fixed_ms": [1.0] * 8, "ms_per_crop": [0.1] * 8, "ms_per_token": [0.0] * 8, "error_pct": 1.0}
    expected_latency.save({"okvqa": of_size}, GRID, "modelled", {}, results / "lookup" / "expected_latency.json")
    Image.open(io.BytesIO(tiny_samples[0].image)).save(tmp_path / "picture.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_answer(study, capsys, tiny_engine, tiny_samples):
    question = tiny_samples[0].question
    main(["answer", "picture.png", question, "--budget", "55pct", "--controller", "lookup-mean"])
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if " " in line.strip())
    # 55 % of 4 ms is 2.2 ms: the table's third configuration takes 2.0 ms, the fourth 2.5 ms.
    assert lines["knobs"] == "low-k4-b5 (by lookup-mean)"
    assert lines["latency"].endswith("modelled)")
    assert " ms (vision " in lines["latency"]
    assert lines["budget"].startswith("2.20 ms, m")


def test_budget_in_milliseconds_needs_no_reference(study, capsys):
    (study / "results/core_exp/okvqa.reference.json").unlink()
    main(["predict", "--budget", "9000ms", "--controller", "static-full"])
    assert json.loads(capsys.readouterr().out) == {
        "controller": "static-full",
        "budget_ms": 9000.0,
        "tier": "high",
        "top_k": 4,
        "num_active_blocks": 7,
    }


def test_predict_with_a_request_agrees_with_the_table_alone(study, capsys):
    shared = ["--budget", "55pct", "--controller", "lookup-mean"]
    main(["predict", *shared])
    main(["predict", "picture.png", "what is the number ?", *shared])
    alone, with_request = map(json.loads, capsys.readouterr().out.splitlines())
    assert alone == with_request
    assert alone["tier"] == "low"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["predict", "--budget", "9ms", "--controller", "lookup-men"], "did you mean 'lookup-mean'?"),
        (["predict", "--budget", "9ms", "--controller", "oracle"], "cannot answer requests"),
        (["predict", "--budget", "9ms", "--controller", "static-full", "--dataset", "x"], "expected one of okvqa"),
        (["answer", "nowhere.png", "what ?", "--budget", "9ms", "--controller", "static-full"], "nowhere.png: cannot"),
        (["answer", "config.yaml", "what ?", "--budget", "9ms", "--controller", "static-full"], "as an image"),
        (["predict", "picture.png", "--budget", "9ms", "--controller", "static-full"], "IMAGE was given without"),
        (["predict", "--budget", "9ms", "--controller", "two-stage-language"], "policy.json: cannot be read"),
    ],
)
def test_bad_input_is_one_sentence(study, arguments, sentence):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert str(exit_.value).startswith("error: ")
    assert sentence in str(exit_.value)


def test_bad_budget_is_a_usage_error(study, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["predict", "--budget", "60", "--controller", "static-full"])
    assert exit_.value.code == 2
    assert "'60' is not a budget" in capsys.readouterr().err


def test_a_controller_that_reads_the_request_asks_for_it(study):
    study_now = describe_study(StudyConfig.load(CONFIG), Path("results/model"), {})
    architecture = {"d_model": 16, "overview_dim": 64}
    torch.manual_seed(0)
    policy = SingleStagePolicy("single-stage-mlp", architecture, study_now.grid)
    training = {"settings": StudyConfig.load(CONFIG).training.model_dump(), "overhead_ms": 0.1}
    card = PolicyCard("single-stage-mlp", study_now, architecture, 4.0, training)
    save_policy(Path("results/controllers/single-stage-mlp"), policy, card)
    shared = ["--budget", "55pct", "--controller", "single-stage-mlp"]
    with pytest.raises(SystemExit, match="reads overview and question and size; expected IMAGE and QUESTION as well"):
        main(["predict", *shared])
    main(["predict", "picture.png", "what is the number ?", *shared])
