"""A rehearsal chooses as requests do."""

import pytest
from policies import GRID, LATENCY_MS, ask, context, dearer_is_better, load_named, run_training

from adamolmo.controllers import single_stage, two_stage
from adamolmo.controllers.training.rehearsal import choices, rehearse
from adamolmo.inference.controller import Limit

MODULES = {
    "two-stage-language": two_stage,
    "single-stage-mlp": single_stage,
    "single-stage-mlp-distilled": single_stage,
}


@pytest.mark.parametrize("name", MODULES)
def test_a_rehearsed_choice_is_that_of_a_request(name, tiny_engine, profiled, data, tmp_path):
    training_set = data(dearer_is_better)
    run_training(MODULES[name], tmp_path, name, training_set, objective="exact", steps=40, batch_size=32)
    controller, samples = load_named(name, context(tmp_path)), profiled[0]
    by_id = {sample.sample_id: sample for sample in samples}
    rows = [0, 3, 5, 11]
    for budget_ms in (12.0, 20.0, 30.0):
        asked = [ask(tiny_engine, by_id[training_set.profile.samples[row][1]], controller, budget_ms) for row in rows]
        assert choices(controller, training_set, rows, Limit(budget_ms)) == asked


def test_a_response_says_what_the_choices_cost(tiny_engine, data, tmp_path):
    training_set = data(dearer_is_better)
    run_training(single_stage, tmp_path, "single-stage-mlp", training_set, objective="exact", steps=150, batch_size=32)
    controller = load_named("single-stage-mlp", context(tmp_path))
    response = rehearse(controller, training_set, range(6), [0.5] * len(GRID.configs))
    budget_ms = response.budget_that_spends(20.5, "mean")
    spent = [LATENCY_MS[GRID.configs.index(c)] for c in choices(controller, training_set, range(6), Limit(budget_ms))]
    assert sum(spent) / 6 <= 20.0
    assert not response.heeds_price
    assert response.spent_ms["mean"][-1] > response.spent_ms["mean"][0] >= LATENCY_MS.min() + 0.5
