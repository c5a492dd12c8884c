"""Bad input: one clear sentence, no traceback, exit status 1, and nothing lost."""

import json
import re

import pytest
from mini_study import only_error
from safetensors.torch import load_file, save_file

from adamolmo.core_exp.inspection import inspect_profile
from adamolmo.files.core_exp import CORE_EXP
from adamolmo.files.documents import sealed
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import read_table, write_table
from adamolmo.files.summary import SUMMARY

CELL = "results/eval/okvqa/lookup-mean/60pct.json"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("budgts: [60pct]", "key 'budgts' is unknown; did you mean 'budgets'?"),
        ("budgets: [60s]", "key 'budgets[0]': '60s' is not a budget; expected a positive number with its unit"),
        ("controllers: [lookup-meen]", "controller 'lookup-meen' is unknown; did you mean 'lookup-mean'?"),
        ("controllers: [static-high-k9]", "'high-k9' is not a knob configuration; expected the form 'high-k8-b16'."),
        ("importance: {tier: medium}", "importance.tier is 'medium'; expected one of knobs.tiers: low, high."),
        ("datasets: {gqa: {source: web, style: null, scorer: vqa}}", "key 'datasets.gqa.source' is \"web\""),
    ],
)
def test_configuration(clone, config, text, sentence):
    path = config(text)
    error = only_error(clone.snakemake("--dry-run", configs=(path,)))
    assert sentence in error
    assert error.partition(": ")[0].endswith(path.name)


def test_a_bomb_in_the_repositorys_own_configuration(clone):
    merged = (f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}\n" for i in range(1, 31))
    path = clone.path("config.yaml")
    path.write_text(path.read_text() + "m0: &m0 {k: 1}\n" + "".join(merged))
    assert "config.yaml: cannot be read as YAML (line " in only_error(clone.snakemake("--dry-run"))


def test_configuration_on_the_command_line(clone, config):
    path = config("seed: 3")
    error = only_error(clone.snakemake("--dry-run", "--config", "latency={clock: wall}", configs=(path,)))
    assert error == "--config: key 'latency.clock' is \"wall\"; expected 'measured' or 'modelled'."


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
    path.write_text(json.dumps(sealed(scores | {"model_checksum": "0" * 64})))
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


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model: {checkpoint: /nowhere}", "key 'model.checkpoint': /nowhere does not exist; expected a directory"),
        (
            "datasets: {okvqa: {source: parquet, path: mistyped.parquet}}",
            "key 'datasets.okvqa.path': mistyped.parquet does not exist; expected a Parquet file",
        ),
        (
            "training: {mobilevit: {checkpoint: ./encoder}}",
            "key 'training.mobilevit.checkpoint': encoder does not exist; expected a directory of weights",
        ),
        (
            "own_controllers: {mine: {module: mine.py}}",
            "key 'own_controllers.mine.module': module 'mine.py' does not exist; expected a Python file",
        ),
    ],
)
def test_an_input_that_does_not_exist_is_refused_although_all_results_do(finished, config, text, sentence):
    path = config(text)
    error = only_error(finished.snakemake("--dry-run", configs=(path,)))
    assert sentence in error
    assert error.partition(": ")[0].endswith(path.name)


def test_some_samples_cannot_be_asked(study, config):
    """One image is torn, one question has 480 words at 512 positions: the study goes on without the two, lists what
    failed and why, and counts it, in the profile as in a cell; above the limit it stops with one sentence."""
    small = "samples: {importance: 10, profile: 10, evaluation: 10}\ncontrollers: [static-full]\nbudgets: [60pct]\n"
    small += "datasets: {text_vqa: null}\ncore_exp: {max_failed_fraction: %s}"
    tolerant = config(small % 0.2)
    splits = [study.path(f"results/data/okvqa/{split}.parquet") for split in ("importance", "profile", "evaluation")]
    made = study.snakemake("--", *(path.relative_to(study.directory) for path in splits), configs=(tolerant,))
    assert made.returncode == 0, made.output
    torn, long = {}, {}
    for path in splits:
        samples, metadata = read_table(path, SAMPLES)
        assert len(samples) == 10
        torn[path.stem] = samples.loc[2, "sample_id"]
        samples.loc[2, "image"] = samples.loc[2, "image"][:100]
        long[path.stem] = samples.loc[5, "sample_id"]
        samples.loc[5, "question"] = " ".join(["red"] * 480)
        write_table(samples, path, SAMPLES, metadata)

    result = study.snakemake("--", "results/summary.parquet", configs=(tolerant,))
    assert result.returncode == 0, result.output
    profile, metadata = read_table(study.path("results/core_exp/okvqa.parquet"), CORE_EXP)
    check_failed(metadata["failed"], torn["profile"], long["profile"])
    assert profile["sample_id"].nunique() == 8
    scores = json.loads(study.path("results/importance/okvqa.json").read_text())
    check_failed(scores["failed"], torn["importance"], long["importance"])
    cell = json.loads(study.path("results/eval/okvqa/static-full/60pct.json").read_text())
    check_failed(cell["failed"], torn["evaluation"], long["evaluation"])
    summary, _ = read_table(study.path("results/summary.parquet"), SUMMARY)
    assert (summary["num_samples"].item(), summary["num_failed"].item()) == (8, 2)
    report = inspect_profile(study.path("results/core_exp/okvqa.parquet"))
    assert "2 of 10 samples" in report
    assert f"{torn['profile']}: sample '{torn['profile']}': its image cannot be read" in report

    strict = config(small % 0.1)
    error = only_error(study.snakemake("--", "results/core_exp/okvqa.parquet", configs=(strict,)))
    assert "2 of 10 samples are unreadable, expected at most 10 %" in error
    assert torn["importance"] in error


def check_failed(failed, torn, long):
    assert sorted(entry["sample_id"] for entry in failed) == sorted([torn, long])
    reasons = {entry["sample_id"]: entry["reason"] for entry in failed}
    assert "its image cannot be read" in reasons[torn]
    assert re.search(f"^sample '{long}': the prompt has 5[0-9][0-9] tokens .* has room for ", reasons[long])
