"""Bad input: one clear sentence, no traceback, exit status 1, and nothing lost."""

import json

import pytest
from safetensors.torch import load_file, save_file

from adamolmo.schema import CORE_EXP, SAMPLES, read_table, write_table

CELL = "results/eval/okvqa/lookup-mean/60pct.json"


def only_error(result) -> str:
    assert result.returncode == 1
    assert "Traceback" not in result.output
    assert len(result.errors) == 1, result.output
    return result.errors[0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("budgts: [60pct]", "key 'budgts' is unknown; did you mean 'budgets'?"),
        ("budgets: [60s]", "key 'budgets[0]': '60s' is not a budget; expected a positive number with its unit"),
        ("controllers: [lookup-meen]", "controller 'lookup-meen' is unknown; did you mean 'lookup-mean'?"),
        ("controllers: [static-high-k9]", "'high-k9' is not a knob configuration; expected the form 'high-k8-b16'."),
        ("importance: {tier: medium}", "importance.tier is 'medium'; expected one of knobs.tiers: low, high."),
        ("datasets: {gqa: {source: hub, style: null, scorer: vqa}}", "key 'datasets.gqa.source' is \"hub\""),
    ],
)
def test_configuration(clone, config, text, sentence):
    path = config(text)
    error = only_error(clone.snakemake("--dry-run", configs=(path,)))
    assert sentence in error


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("okvq/lookup-mean/60pct", "dataset 'okvq' is unknown; configured are "),
        ("okvqa/lookup-meen/60pct", "controller 'lookup-meen' is unknown; did you mean 'lookup-mean'?"),
        ("okvqa/lookup-mean/60.0pct", "'60.0pct' is not a budget; expected a positive number with its unit"),
        ("okvqa/static-high-k99/60pct", "'high-k99' is not a knob configuration; expected the form 'high-k8-b16'."),
    ],
)
def test_unknown_cell(clone, cell, sentence):
    error = only_error(clone.snakemake("--dry-run", "--", f"results/eval/{cell}.json"))
    assert error.startswith(sentence)


def test_truncated_profile(study):
    path = study.path("results/core_exp/okvqa.parquet")
    path.write_bytes(path.read_bytes()[:2000])
    error = only_error(study.snakemake("--", "results/lookup/mean.json"))
    assert error.startswith("results/core_exp/okvqa.parquet: cannot be read as the Parquet table core_exp")
    path.unlink()
    assert study.snakemake("--", "results/lookup/mean.json").returncode == 0


def test_importance_of_another_model(study):
    path = study.path("results/importance/scores.json")
    scores = json.loads(path.read_text())
    path.write_text(json.dumps(scores | {"model_checksum": "0" * 64}))
    error = only_error(study.snakemake("--allowed-rules", "evaluate", "--", CELL))
    assert error.startswith("results/importance/scores.json: the importance scores belong to another model")


def test_checkpoint_without_a_tensor(clone):
    path = clone.path("resources/embedded/model.safetensors")
    tensors = load_file(path)
    removed = "model.transformer.blocks.3.attn.q_norm.weight"
    del tensors[removed]
    save_file(tensors, path)
    error = only_error(clone.snakemake("--", "results/model/manifest.json"))
    assert f"missing tensors {removed.removeprefix('model.')}" in error
    assert not clone.path("results/model/manifest.json").exists()


def test_missing_checkpoint(clone, config):
    result = clone.snakemake("--dry-run", configs=(config("model: {checkpoint: nowhere}"),))
    assert result.returncode == 1
    assert "Missing input files" in result.output
    assert "nowhere/config.json" in result.output


def test_unreadable_image(study, config):
    path = study.path("results/data/okvqa/profile.parquet")
    samples, metadata = read_table(path, SAMPLES)
    samples.loc[2, "image"] = samples.loc[2, "image"][:100]
    write_table(samples, path, SAMPLES, metadata)
    target = "results/core_exp/okvqa.parquet"
    only_these = ("--allowed-rules", "core_exp", "merge_core_exp", "--", target)
    error = only_error(study.snakemake(*only_these))
    assert "1 of 12 samples are unreadable, expected at most 2 %" in error
    assert samples.loc[2, "sample_id"] in error

    tolerant = config("core_exp: {max_failed_fraction: 0.1}")
    result = study.snakemake(*only_these, configs=(tolerant,))
    assert result.returncode == 0, result.output
    profile, metadata = read_table(study.path(target), CORE_EXP)
    assert [failed["sample_id"] for failed in metadata["failed"]] == [samples.loc[2, "sample_id"]]
    assert profile["sample_id"].nunique() == 11
