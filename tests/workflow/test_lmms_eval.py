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


@pytest.mark.parametrize(
    ("text", "target", "sentence"),
    [
        (
            "",
            "okvqa/lookup-mean/60pct.json",
            "task 'okvqa' is not among the configured tasks; did you mean 'adamolmo_okvqa'?",
        ),
        (
            "",
            "adamolmo_okvqa/lookup-meen/60pct.json",
            "controller 'lookup-meen' is not among the configured controllers",
        ),
        ("", "adamolmo_okvqa/lookup-mean/7ms.json", "budget '7ms' is not among the configured budgets: 60pct, 90pct."),
        (
            "lmms_eval: {controllers: [lookup-meen]}",
            "summary.parquet",
            "lmms_eval.controllers: controller 'lookup-meen' is unknown; did you mean 'lookup-mean'?",
        ),
        (
            "lmms_eval: {tasks: {mme: {profile: gqa, style: null, metric: m}}}",
            "mme/lookup-mean/60pct.json",
            "lmms_eval.tasks.mme.profile is 'gqa'; expected one of text_vqa, okvqa.",
        ),
        (
            "{controllers: [static-full], lmms_eval: {controllers: [two-stage-budget]}}",
            "adamolmo_okvqa/two-stage-budget/60pct.json",
            "lmms_eval.controllers: 'two-stage-budget' is trained by the study; expected it among the configured "
            "controllers: static-full.",
        ),
    ],
)
def test_refusals(clone, config, text, target, sentence):
    configs = (config(text),) if text else ()
    result = clone.snakemake("--dry-run", "--", f"results/lmms_eval/{target}", configs=configs)
    assert result.returncode == 1
    assert "Traceback" not in result.output
    assert any(error.startswith(sentence) for error in result.errors), result.output
