"""The command line, on a study's results for the tiny model."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from made_documents import manifest, reference
from policies import ARCHITECTURE, policy_card

from adamolmo.cli import main
from adamolmo.config import StudyConfig
from adamolmo.controllers.policy_file import save_policy
from adamolmo.controllers.single_stage import SingleStagePolicy
from adamolmo.files.documents import read_json, write_json
from adamolmo.files.governor import StreamState
from adamolmo.files.model import Check
from adamolmo.jobs.loading import study_fingerprint
from adamolmo.knobs import KnobConfig
from adamolmo.statistics.interval import Interval

CONFIG = "config.yaml"
GRID = [KnobConfig(tier, k, b) for tier in ("low", "high") for k in (2, 4) for b in (5, 7)]


def test_answer(study, capsys, tiny_engine, tiny_samples):
    question = tiny_samples[0].question
    main(["answer", "picture.png", question, "--budget", "55pct", "--controller", "lookup-mean"])
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if " " in line.strip())
    # 55 % of 4 ms is 2.2 ms: the table's third configuration takes 2.0 ms, the fourth 2.5 ms.
    assert lines["knobs"] == "low-k4-b5 (by lookup-mean)"
    assert lines["latency"].endswith("modelled)")
    assert " ms (vision " in lines["latency"]
    assert lines["budget"].startswith("2.20 ms, m")


def test_a_promise_is_kept_from_call_to_call(study, capsys, tiny_samples):
    question = tiny_samples[0].question
    arguments = ["answer", "picture.png", question, "--budget", "55pct-p95", "--controller", "lookup-mean"]
    main(arguments)
    alone = capsys.readouterr().out
    assert "promise  55 %, 95 in 100 on time: margin " in alone
    states = []
    for _ in range(3):
        main([*arguments, "--state", "stream.json"])
        states.append(read_json(study / "stream.json", StreamState).model_dump())
    assert capsys.readouterr().out.startswith(alone)
    assert [state["requests"] for state in states] == [1, 2, 3]
    assert len({state["margin"] for state in states}) == 3
    assert states[0] | {"requests": 0, "margin": 0.0} == {
        "controller": "lookup-mean",
        "dataset": "okvqa",
        "budget": "55pct-p95",
        "requests": 0,
        "margin": 0.0,
        "slowdown": 1.0,
    }


def test_state_files_that_do_not_fit_are_one_sentence(study, tiny_samples):
    shared = [
        "answer",
        "picture.png",
        tiny_samples[0].question,
        "--state",
        "stream.json",
        "--controller",
        "lookup-mean",
    ]
    with pytest.raises(SystemExit, match="budget 55pct promises nothing; expected such as 55pct-p95 or 55pct-mean"):
        main([*shared, "--budget", "55pct"])
    main([*shared, "--budget", "55pct-p95"])
    with pytest.raises(
        SystemExit, match="stream.json: keeps the requests of budget '55pct-p95'; expected '55pct-mean'"
    ):
        main([*shared, "--budget", "55pct-mean"])


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


@pytest.mark.parametrize(("budget", "said"), [("20pct", True), ("0.5ms", True), ("90pct", False), ("4ms", False)])
def test_predict_says_that_nothing_meets_a_budget(study, capsys, budget, said):
    lowest = reference(median_latency_ms=4.0, lowest_median_latency_ms=1.0, clock="modelled")
    write_json(lowest, study / "results/core_exp/okvqa.reference.json")
    main(["predict", "--budget", budget, "--controller", "lookup-mean"])
    printed = capsys.readouterr()
    assert json.loads(printed.out)["tier"] in ("low", "high")
    assert (f"no configuration meets {budget} " in printed.err) == said
    assert ("the fastest takes 1 ms" in printed.err) == said


@pytest.mark.parametrize(("probe_ms", "said"), [(24.0, "takes 2.40 times as long"), (10.2, None), (5.0, "takes 0.50")])
def test_answer_says_that_the_device_is_slower_than_in_the_profile(
    study, capsys, tiny_samples, monkeypatch, probe_ms, said
):
    raw = yaml.safe_load((study / CONFIG).read_text())
    raw["latency"]["clock"] = "measured"
    (study / CONFIG).write_text(yaml.safe_dump(raw, sort_keys=False))
    profiled = reference(reference_request_ms=Interval(10.0, 9.9, 10.1), clock="measured")
    write_json(profiled, study / "results/core_exp/okvqa.reference.json")
    monkeypatch.setattr("adamolmo.study.answering.SpeedProbe.run", lambda probe: probe_ms)
    main(["answer", "picture.png", tiny_samples[0].question, "--budget", "9000ms", "--controller", "static-full"])
    printed = capsys.readouterr().out
    assert (f"device   {said}" in printed) if said else ("device" not in printed)


@pytest.mark.parametrize(
    "arguments",
    [
        ["answer", "\x1b[31m.png", "what ?", "--budget", "9ms", "--controller", "static-full"],
        ["answer", "\udcff.png", "what ?", "--budget", "9ms", "--controller", "static-full"],
        ["answer", "picture.png", "what \udcff ?", "--budget", "9ms", "--controller", "static-full"],
        ["answer", "picture.png", "\x1b]0;title\x07 ?", "--budget", "9ms", "--controller", "static-full"],
        ["predict", "--budget", "\x1b[2Jms", "--controller", "static-full"],
        ["predict", "--budget", "9ms", "--controller", "\x9b31m"],
        ["predict", "--budget", "9ms", "--controller", "static-full", "--dataset", "\u202eokvqa"],
        ["predict", "--budget", "9ms", "--controller", "static-full", "--results", "\x1b[31m"],
        ["inspect", "\x1b[31m\udcff.parquet"],
        ["\x1b[31m"],
        ["inspect", "x.parquet", "--\x1b[31m"],
    ],
)
def test_nothing_raw_reaches_the_terminal(study, capsys, arguments):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    printed = capsys.readouterr()
    shown = printed.out + printed.err + str(exit_.value)
    assert all(char.isprintable() for char in shown.replace("\n", ""))
    assert "Traceback" not in shown


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
        (["predict", "picture.png", "--budget", "9ms", "--controller", "static-full"], "image was given without"),
        (
            ["predict", "--budget", "9ms", "--controller", "two-stage-language"],
            "was not trained in this study; trained are none.",
        ),
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
    study_now = study_fingerprint(StudyConfig.load(CONFIG), Path("results/model"), {})
    torch.manual_seed(0)
    policy = SingleStagePolicy("single-stage-mlp", ARCHITECTURE, study_now.grid)
    card = policy_card("single-stage-mlp", ARCHITECTURE, study_now, 4.0)
    save_policy(Path("results/controllers/single-stage-mlp"), policy, card)
    shared = ["--budget", "55pct", "--controller", "single-stage-mlp"]
    with pytest.raises(SystemExit, match="reads overview and question and size; expected image and question as well"):
        main(["predict", *shared])
    main(["predict", "picture.png", "what is the number ?", *shared])


def test_inspect_shows_what_a_model_was_checked_for(tmp_path, capsys):
    path = tmp_path / "manifest.json"
    check = Check(name="top_k equals a model built with it", difference=2.5e-6, allowed=1e-4)
    write_json(manifest(7).model_copy(update={"checks": (check,)}), path)
    main(["inspect", str(path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"model molmo: {path}", "size      2400000 parameters, 7 blocks, float32"]
    assert lines[-1] == "  2.5e-06 (1.0e-04)  top_k equals a model built with it"
    with pytest.raises(SystemExit, match="error: .*nothing.json"):
        main(["inspect", str(tmp_path / "nothing.json")])
