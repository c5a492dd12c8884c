"""The benchmarks' part of the workflow as far as it goes without lmms-eval: plans and refusals."""

import pytest


def test_default_targets_do_not_need_it(clone):
    assert not {"run_lmms_eval", "prepare_lmms_eval"} & clone.plan().keys()


def test_data_can_be_prepared_alone(clone):
    plan = clone.plan("--", "lmms_eval_data")
    assert plan["prepare_lmms_eval"] == 2
    assert not {"run_lmms_eval", "core_exp"} & plan.keys()


def test_online_prepares_nothing(clone, config):
    plan = clone.plan("--", "lmms_eval", configs=(config("lmms_eval: {data: null}"),))
    assert plan["run_lmms_eval"] == 8
    assert "prepare_lmms_eval" not in plan


def test_any_controller_and_budget_can_be_asked_for(clone):
    assert clone.plan("--", "results/lmms_eval/adamolmo_okvqa/static-low-k4-b12/70pct.json")["run_lmms_eval"] == 1


@pytest.mark.parametrize(
    ("text", "cell", "sentence"),
    [
        (
            "",
            "okvqa/lookup-mean/60pct",
            "task 'okvqa' is not among lmms_eval.tasks: adamolmo_text_vqa, adamolmo_okvqa.",
        ),
        ("", "adamolmo_okvqa/lookup-meen/60pct", "controller 'lookup-meen' is unknown; did you mean 'lookup-mean'?"),
        ("", "adamolmo_okvqa/lookup-mean/60.0pct", "'60.0pct' is not a budget; expected a positive number"),
        (
            "lmms_eval: {tasks: {mme: {profile: gqa, style: null, metric: m}}}",
            "mme/lookup-mean/60pct",
            "lmms_eval.tasks.mme.profile is 'gqa'; expected one of text_vqa, okvqa.",
        ),
    ],
)
def test_refusals(clone, config, text, cell, sentence):
    configs = (config(text),) if text else ()
    result = clone.snakemake("--dry-run", "--", f"results/lmms_eval/{cell}.json", configs=configs)
    assert result.returncode == 1
    assert "Traceback" not in result.output
    assert any(error.startswith(sentence) for error in result.errors), result.output


def test_unknown_controller_in_the_configuration(clone, config):
    result = clone.snakemake("--dry-run", configs=(config("lmms_eval: {controllers: [lookup-meen]}"),))
    assert "key 'lmms_eval.controllers[0]': controller 'lookup-meen' is unknown" in result.errors[0]
