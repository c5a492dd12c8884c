from dataclasses import replace

import numpy as np
import pytest
from made_documents import reference

from adamolmo.budgets import Budget
from adamolmo.controllers.governor import Governor
from adamolmo.controllers.response import Response
from adamolmo.controllers.slowdown import follow
from adamolmo.data.samples import Questions
from adamolmo.data.scoring import vqa_score
from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.cell import evaluate_cell
from adamolmo.evaluation.cell_summary import Cell, summarise_cell
from adamolmo.files.documents import read_json, write_json
from adamolmo.files.evaluation import EVALUATION, CellSummary
from adamolmo.files.governor import GovernedStream, GovernorState, Spent
from adamolmo.files.schema import read_table, write_table
from adamolmo.inference.clock import StageTimes
from adamolmo.inference.controller import Controller, Decision, FixedController
from adamolmo.knobs import KnobConfig
from adamolmo.statistics.interval import Interval
from adamolmo.statistics.intervals import Resampling

CONFIG = KnobConfig("high", 3, 6)
RESAMPLING = Resampling(200)


def evaluate(engine, samples, budget="120pct", probe_ms=1.0, **overrides):
    expected = reference(
        median_latency_ms=2.0,
        lowest_median_latency_ms=1.0,
        reference_request_ms=None if engine.clock.name == "modelled" else Interval(*3 * [probe_ms]),
        device=engine.device,
        clock=overrides.pop("reference_clock", engine.clock.name),
    )
    controller = overrides.pop("controller", FixedController(CONFIG))
    cell = Cell("tiny", controller.name, Budget.parse(budget), expected)
    response, expected_ms = overrides.pop("response", None), overrides.pop("expected_ms", None)
    settings = {"full": KnobConfig("high", 4, 7), "max_warmup": 3, "resampling": RESAMPLING} | overrides
    questions = Questions(samples, "tiny", vqa_score)
    governor = Governor(cell.budget_ms, cell.budget.promise, response, expected_ms if cell.budget.promise else None)
    table, timing = evaluate_cell(engine, questions, controller, governor, cell, **settings)
    stream = GovernedStream(start=governor.start, end=governor.state)
    return table, summarise_cell(cell, table, timing, stream, [], RESAMPLING)


def test_cell_of_real_requests_passes_the_schema(tiny_engine, tiny_samples, tmp_path):
    table, summary = evaluate(tiny_engine, tiny_samples)
    write_table(table, tmp_path / "cell.parquet", EVALUATION, {})
    write_json(summary, tmp_path / "cell.json")
    rows, _ = read_table(tmp_path / "cell.parquet", EVALUATION)
    stored = read_json(tmp_path / "cell.json", CellSummary)
    assert stored.knob_counts == {str(CONFIG): 10}
    assert stored.clock == "modelled"
    assert stored.failed == ()
    assert (stored.controller, stored.budget, stored.budget_ms) == (f"static-{CONFIG}", "120pct", 2.4)
    assert stored.accuracy.value == pytest.approx(rows["accuracy"].mean(), abs=1e-6)
    for sample, row in zip(tiny_samples, rows.itertuples(), strict=True):
        assert row.sample_id == sample.sample_id
        assert row.accuracy == pytest.approx(vqa_score(row.prediction, sample.answers))
    stages = rows[["vision_ms", "prefill_ms", "controller_ms", "decode_ms"]].sum(axis=1)
    np.testing.assert_allclose(rows["latency_ms"], stages, rtol=1e-5)


def test_modelled_cell_is_deterministic(tiny_engine, tiny_samples):
    first, second = (evaluate(tiny_engine, tiny_samples[:3]) for _ in range(2))
    assert first[0].equals(second[0])
    assert first[1] == second[1]


class Switch(Controller):
    """Dear above 2 ms of budget, cheap below."""

    name = "switch"

    def predict_stage1(self, inputs):
        return Decision.of(KnobConfig("high", 4, 7) if inputs.budget_ms > 2.0 else KnobConfig("low", 2, 5))


RESPONSE = Response(
    np.array([1.0, 1.9, 2.1, 4.0]), dict.fromkeys(Spent.model_fields, np.ones(4)), np.empty(0), np.empty(0)
)


def test_a_promise_is_kept_by_what_was_measured_before(measured_engine, tiny_samples, monkeypatch):
    """Dear requests take 9 ms, the others 1 ms. Warm-up teaches nothing; the rows say what was in force."""
    answer = measured_engine.answer

    def timed(image, question, style, controller, limit):
        response = answer(image, question, style, controller, limit)
        dear = response.config == KnobConfig("high", 4, 7)
        return replace(response, stages=StageTimes(9.0 if dear else 1.0))

    monkeypatch.setattr(measured_engine, "answer", timed)
    samples = [replace(tiny_samples[number % 10], sample_id=f"{number:03d}") for number in range(60)]
    table, summary = evaluate(measured_engine, samples, "4ms-p95", 9.0, controller=Switch(), response=RESPONSE)
    assert table["request"].tolist() == list(range(60))
    assert table["margin"].iloc[0] == 0.0
    late = table["latency_ms"] > 4.0
    assert (table["budget_met"] == ~late).all()
    again = Governor(4.0, "p95", RESPONSE)
    for row in table.itertuples():
        assert (row.margin, row.slowdown) == (again.state.margin, 1.0)
        assert (row.latency_ms == 9.0) == (again.limit.budget_ms > 2.0)
        again.observe(row.latency_ms)
    assert summary.governor.start == GovernorState(requests=0, margin=0.0, slowdown=1.0)
    assert summary.governor.end == again.state
    assert late.mean() < 0.3


@pytest.mark.parametrize(("budget", "slowdown"), [("4ms-p95", 1.25), ("4ms", 1.0)])
def test_a_promise_begins_at_todays_speed(measured_engine, tiny_samples, monkeypatch, budget, slowdown):
    """The speed probe took 7.2 ms during the profile and takes 9 ms now: the first limit is tighter by as much.

    From then on requests tell the speed: 8 ms were expected of each, and 0.5 ms of deciding."""
    answer = measured_engine.answer

    def timed(image, question, style, controller, limit):
        return replace(answer(image, question, style, controller, limit), stages=StageTimes(8.5, controller_ms=0.5))

    monkeypatch.setattr(measured_engine, "answer", timed)
    expected = {"response": RESPONSE, "expected_ms": lambda config, num_crops, input_tokens: 8.0}
    table, summary = evaluate(measured_engine, tiny_samples, budget, 7.2, controller=Switch(), **expected)
    assert table["slowdown"].iloc[0] == summary.governor.start.slowdown == pytest.approx(slowdown)
    pace = [slowdown]
    for requests in range(9):
        pace.append(follow(pace[-1], requests, 9.0, 8.5) if budget == "4ms-p95" else 1.0)
    assert table["slowdown"].tolist() == pytest.approx(pace)
    assert table["margin"].iloc[0] == summary.governor.start.margin == 0.0


def test_measured_cell_warms_up_first_and_asks_each_sample_once(measured_engine, tiny_samples, monkeypatch):
    asked, answer = [], measured_engine.answer

    def recording(image, question, style, controller, limit):
        asked.append((question, controller.name))
        return answer(image, question, style, controller, limit)

    monkeypatch.setattr(measured_engine, "answer", recording)
    table, summary = evaluate(measured_engine, tiny_samples[:4], "170ms")
    questions, own = [sample.question for sample in tiny_samples[:4]], f"static-{CONFIG}"
    warm_up, reference = [(questions[0], own)] * 3, [("how many objects are there ?", "static-high-k4-b7")]
    assert asked == warm_up + reference + [(question, own) for question in questions]
    assert summary.clock == "measured"
    assert summary.budget_ms == 170.0
    assert len(table) == 4


def test_the_speed_probe_is_timed_throughout_and_its_median_counts(measured_engine, tiny_samples, monkeypatch):
    """25 requests of 3 ms under 2 ms: it runs before the 1st, the 11th and the 21st, and never counts as an answer."""
    answer, speeds, order = measured_engine.answer, iter((1.0, 7.0, 2.0)), []

    def timed(image, question, style, controller, limit):
        order.append(controller.name)
        vision_ms = next(speeds) if controller.name == "static-high-k4-b7" else 3.0
        return replace(answer(image, question, style, controller, limit), stages=StageTimes(vision_ms))

    monkeypatch.setattr(measured_engine, "answer", timed)
    samples = [tiny_samples[number % 10] for number in range(25)]
    table, summary = evaluate(measured_engine, samples, "2ms", max_warmup=1)
    assert [number for number, name in enumerate(order) if name == "static-high-k4-b7"] == [1, 12, 23]
    assert summary.slowdown == Interval(2.0, 1.0, 7.0)
    assert (summary.violation_rate.value, summary.violation_rate_at_profile_speed.value) == (1.0, 0.0)
    assert len(table) == 25


def test_feasible_compares_with_the_fastest_configuration(tiny_engine, tiny_samples):
    assert [evaluate(tiny_engine, tiny_samples[:1], budget)[1].feasible for budget in ("50pct", "49pct")] == [
        True,
        False,
    ]


def test_reference_of_another_clock_is_refused(tiny_engine, tiny_samples):
    with pytest.raises(AdaMolmoError, match="the profile's clock is measured, but this evaluation's is modelled"):
        evaluate(tiny_engine, tiny_samples, reference_clock="measured")
