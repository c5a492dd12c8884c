"""What governors keep, on machines that drift; where they start; and their files."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from drifting_machine import (
    CHOOSERS,
    LATENCY_MS,
    MEANS_MS,
    NOISE,
    PROBABILITY,
    PROFILED,
    SPEEDS,
    response_of,
    run_stream,
)
from policies import GRID, context
from policies import LATENCY_MS as EXPECTED_MS

from adamolmo.budgets import ALLOWED_LATE, Budget
from adamolmo.controllers.governor import STEP, TOLD_DIGITS, Governor, load_governor
from adamolmo.controllers.response import Response, spent
from adamolmo.controllers.slowdown import follow
from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import sealed, write_json
from adamolmo.files.governor import (
    ConfigLatency,
    ControllerResponse,
    DatasetResponse,
    GovernorState,
    config_latency_path,
    response_path,
)
from adamolmo.inference.controller import Controller, Decision, FixedController, Limit
from adamolmo.knobs import KnobConfig

response = cache(response_of)
BUDGETS_MS = (60.0, 80.0)


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize("name", CHOOSERS)
def test_five_in_a_hundred_are_late_whatever_the_machine_does(name, speed):
    for budget_ms in BUDGETS_MS:
        latency_ms = run_stream(Governor(budget_ms, "p95", response(name)), name, speed, 2000, seed=1)
        assert 0.04 <= (latency_ms > budget_ms).mean() <= 0.06


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize("name", CHOOSERS)
def test_a_mean_is_kept_whatever_the_machine_does(name, speed):
    for budget_ms in BUDGETS_MS:
        latency_ms = run_stream(Governor(budget_ms, "mean", response(name)), name, speed, 2000, seed=1)
        assert 0.9 * budget_ms < latency_ms.mean() <= 1.02 * budget_ms


DRIFTING = [speed for speed in SPEEDS if speed != "quiet"]


def short_streams(promise, speed, *, paced=True):
    """Latency by budget of streams as long as a cell of the default study, of every chooser: [streams, requests]."""
    return np.concatenate(
        [
            [run_stream(Governor(ms, promise, response(name)), name, speed, 150, seed, paced=paced) / ms]
            for name in CHOOSERS
            for ms in BUDGETS_MS
            for seed in range(3)
        ]
    )


@pytest.mark.parametrize("speed", SPEEDS)
def test_a_promise_holds_in_150_requests_already(speed):
    late = short_streams("p95", speed) > 1
    assert late.mean() <= 0.055
    assert late.mean(axis=1).max() <= 0.08
    assert 0.9 < short_streams("mean", speed).mean() <= 1.01


def test_without_the_slowdown_the_margin_is_too_slow_for_150_requests():
    untold = [short_streams("p95", speed, paced=False) > 1 for speed in DRIFTING]
    assert np.mean(untold) > 0.065


@pytest.mark.parametrize(("promise", "most"), [("p90", 0.12), ("p99", 0.015)])
def test_other_shares_are_kept_as_well(promise, most):
    for speed in SPEEDS:
        latency_ms = run_stream(Governor(80.0, promise, response("table")), "table", speed, 2000, seed=1)
        assert (latency_ms > 80.0).mean() <= most


@pytest.mark.parametrize("name", CHOOSERS)
def test_the_start_is_good_on_a_quiet_machine(name):
    for budget_ms in BUDGETS_MS:
        for seed in range(3):
            latency_ms = run_stream(Governor(budget_ms, "p95", response(name)), name, "quiet", 200, seed)
            assert (latency_ms > budget_ms).mean() <= 0.08
            assert (latency_ms[:50] > budget_ms).mean() <= 0.10
            latency_ms = run_stream(Governor(budget_ms, "mean", response(name)), name, "quiet", 200, seed)
            assert latency_ms.mean() <= 1.03 * budget_ms


def test_without_a_governor_these_promises_are_broken():
    latency_ms = run_stream(Governor(60.0), "predictor", "waving", 2000, seed=1)
    assert (latency_ms > 60.0).mean() > 0.5


def test_a_price_buys_more_than_a_budget_at_the_same_mean():
    """Right answers expected of the predictor at the same mean latency, by a price and by a budget of each request."""

    def gained(name):
        governor, chosen = Governor(60.0, "mean", response(name)), []
        for question in range(600, 2600):
            chosen.append((question, CHOOSERS[name](governor.limit, question)))
            governor.observe(LATENCY_MS[chosen[-1]])
        return np.mean([PROBABILITY[place] for place in chosen])

    assert gained("price taker") > gained("predictor") + 0.005


def test_a_plain_budget_is_told_as_it_is():
    governor = Governor(42.0)
    for latency_ms in (1.0, 1000.0):
        assert governor.limit == Limit(42.0)
        governor.observe(latency_ms)
    assert governor.state == GovernorState(requests=2, margin=0.0, slowdown=1.0)


def told_of(config, num_crops, input_tokens):
    return 50.0


def test_a_stream_begins_with_a_tighter_limit_on_a_slower_device():
    quiet, slow = (Governor(60.0, "p95", response("table"), told_of) for _ in range(2))
    slow.begin_at(1.1)
    assert slow.start == slow.state == GovernorState(requests=0, margin=quiet.state.margin, slowdown=1.1)
    assert slow.limit.budget_ms == pytest.approx(quiet.limit.budget_ms / 1.1, rel=10.0 ** (1 - TOLD_DIGITS))
    slow.observe(61.0)
    later = slow.state
    slow.begin_at(1.5)  # only a stream that has not begun
    assert slow.state == later
    for untold in (Governor(60.0), Governor(60.0, "p95", response("table"))):
        untold.begin_at(1.5)
        assert untold.state.slowdown == 1.0


def test_the_limit_follows_the_machine_within_ten_requests():
    governor = Governor(60.0, "p95", response("table"), told_of)
    for _ in range(50):
        governor.observe(50.0, 50.0)
    before_ms = governor.limit.budget_ms
    for _ in range(10):
        governor.observe(59.0, 40.0)  # in time, but it should have taken 40 ms
    assert governor.state.slowdown == pytest.approx(59 / 40, rel=0.1)
    assert governor.limit.budget_ms < before_ms / 1.2


def test_one_hiccup_is_no_new_speed():
    assert follow(1.0, 100, 5000.0, 50.0) < 1.07
    assert follow(1.0, 100, 0.5, 50.0) > 1 / 1.07
    assert follow(1.0, 100, 100.0, 50.0) * follow(1.0, 100, 25.0, 50.0) == pytest.approx(1.0)


def test_the_first_requests_tell_the_speed_where_nobody_else_did():
    slowdown = 1.0
    for requests in range(4):
        slowdown = follow(slowdown, requests, 65.0, 50.0)
    assert slowdown == pytest.approx(1.3, rel=0.06)


def test_the_late_share_follows_from_the_margin_whatever_the_slowdown_does():
    rng, governor, late = np.random.default_rng(3), Governor(60.0, "p95", response("table")), []
    start = governor.state.margin
    for question in range(600, 1600):
        config = CHOOSERS["table"](governor.limit, question)
        late.append(LATENCY_MS[question, config] > 60.0)
        governor.observe(LATENCY_MS[question, config], rng.uniform(40.0, 80.0))  # what is expected makes no sense
    moved = (governor.state.margin - start) / (STEP["p95"] * len(late))
    assert np.mean(late) == pytest.approx(0.05 + moved)


@pytest.mark.parametrize("promise", ["p90", "p95", "p99"])
def test_late_requests_tighten_and_the_others_loosen_by_the_formula(promise):
    governor, alpha = Governor(60.0, promise, response("table")), ALLOWED_LATE[promise]
    start = governor.state.margin
    governor.observe(61.0)
    assert governor.state.margin == pytest.approx(start + STEP[promise] * (1 - alpha))
    governor.observe(60.0)
    assert governor.state.margin == pytest.approx(start + STEP[promise] * (1 - 2 * alpha))
    told_ms = 60.0 / (1 + governor.state.margin)
    assert governor.limit.budget_ms == pytest.approx(told_ms, rel=10.0 ** (1 - TOLD_DIGITS))
    assert governor.limit.budget_ms == float(f"{told_ms:.{TOLD_DIGITS}g}")


def test_the_margin_ends_where_nothing_would_change():
    """On a machine on which every request is late, it comes back as soon as requests are in time again."""
    governor = Governor(60.0, "p95", response("table"))
    for _ in range(500):
        governor.observe(1000.0)
    assert governor.limit.budget_ms == pytest.approx(response("table").budgets_ms[0])
    for _ in range(500):
        governor.observe(1.0)
    assert governor.limit.budget_ms > 60.0 / 1.1


def test_the_margin_ends_where_nothing_would_change_on_a_slower_device():
    governor = Governor(60.0, "p95", response("table"), told_of)
    governor.begin_at(1.5)
    for _ in range(500):
        governor.observe(1000.0)
    assert governor.limit.budget_ms == pytest.approx(response("table").budgets_ms[0], rel=0.01)
    stuck = governor.state.margin
    governor.observe(1000.0, 10.0)  # slower still: the margin stays where it was
    governor.observe(1000.0)
    assert governor.state.margin == stuck


def test_prices_rise_when_the_mean_is_above_the_budget():
    governor = Governor(60.0, "mean", response("price taker"))
    first = governor.limit
    assert first.budget_ms == np.inf
    assert first.price_per_ms > 0
    governor.observe(90.0)
    assert governor.limit.price_per_ms > first.price_per_ms
    for _ in range(200):
        governor.observe(1.0)
    assert governor.limit.price_per_ms == 0.0


def test_two_streams_that_see_the_same_are_the_same():
    streams = [run_stream(Governor(60.0, "p95", response("table")), "table", "wandering", 300, 4) for _ in range(2)]
    np.testing.assert_array_equal(*streams)


def test_a_stream_goes_on_where_it_was_left():
    whole, first = (Governor(60.0, "p95", response("table")) for _ in range(2))
    latencies_ms = [50.0, 70.0, 55.0, 61.0, 40.0, 80.0]
    for latency_ms in latencies_ms:
        whole.observe(latency_ms, 45.0)
    for latency_ms in latencies_ms[:3]:
        first.observe(latency_ms, 45.0)
    second = Governor(60.0, "p95", response("table"), state=first.state)
    for latency_ms in latencies_ms[3:]:
        second.observe(latency_ms, 45.0)
    assert second.state == whole.state
    assert (whole.state.requests, whole.state.slowdown != 1.0) == (6, True)


def test_the_start_keeps_the_promise_on_the_profiled_questions():
    noise = np.exp(np.random.default_rng(0).normal(0, NOISE, LATENCY_MS[PROFILED].shape))
    found, latency_ms = response("table"), LATENCY_MS[PROFILED] * noise
    for promise, share in (("p90", 0.1), ("p95", 0.05), ("p99", 0.01)):
        effective_ms = Governor(60.0, promise, found).limit.budget_ms
        chosen = CHOOSERS["table"](Limit(effective_ms), 0)
        assert (latency_ms[:, chosen] > 60.0).mean() <= share < (latency_ms[:, chosen + 3] > 60.0).mean()
    assert MEANS_MS[CHOOSERS["table"](Governor(60.0, "mean", found).limit, 0)] <= 60.0


def test_a_response_is_the_same_after_it_was_a_file():
    for name in CHOOSERS:
        found = response(name)
        stored = DatasetResponse.model_validate_json(found.to_document().model_dump_json())
        again = Response.from_document(stored)
        for limit_ms in (30.0, 60.0, 200.0):
            assert again.budget_that_spends(limit_ms, "p95") == found.budget_that_spends(limit_ms, "p95")
        assert again.heeds_price == found.heeds_price == (name == "price taker")


def write_config_latency(results, dataset="okvqa"):
    context(results)  # with what is looked up
    by_config = {str(config): spent(np.linspace(10.0 + i, 12.0 + i, 40)) for i, config in enumerate(GRID.configs)}
    write_json(ConfigLatency(configurations=by_config), results / config_latency_path(dataset))
    return by_config


def write_response(results, of_dataset):
    document = ControllerResponse(controller="reader", datasets={"okvqa": of_dataset.to_document()})
    write_json(document, results / response_path("reader"))


class Reader(Controller):
    """Reads the request; nobody has rehearsed it."""

    name = "reader"

    def reads(self, limit):
        return {"question"}

    def predict_stage1(self, inputs):
        return Decision.of(GRID.full if inputs.question is not None else None)


class Ladder(Controller):
    name = "ladder"

    def predict_stage1(self, inputs):
        return Decision.of(GRID.configs[min(max(int(inputs.budget_ms - 11.0), 0), len(GRID.configs) - 1)])


def test_tables_start_from_what_their_configurations_took(tmp_path):
    by_config = write_config_latency(tmp_path)
    governor = load_governor(Ladder(), Budget.parse("20ms-p95"), 20.0, context(tmp_path))
    chosen = Ladder().predict_stage1(type("Inputs", (), {"budget_ms": governor.limit.budget_ms}))
    p95_ms = by_config[str(KnobConfig(chosen.tier, *chosen.decoder))].p95
    assert 19.0 <= p95_ms <= 20.0


def test_what_reads_the_request_starts_as_a_table_does(tmp_path):
    write_config_latency(tmp_path)
    governor = load_governor(Reader(), Budget.parse("20ms-p95"), 20.0, context(tmp_path))
    assert 17.5 <= governor.limit.budget_ms <= 20.0


def test_a_learned_controller_starts_from_its_rehearsal(tmp_path):
    write_config_latency(tmp_path)
    write_response(tmp_path, response("price taker"))
    governor = load_governor(Reader(), Budget.parse("60ms-mean"), 60.0, context(tmp_path))
    assert governor.limit == Governor(60.0, "mean", response("price taker")).limit


def test_requests_are_measured_by_what_the_profile_lets_expect(tmp_path):
    write_config_latency(tmp_path)
    governor = load_governor(Ladder(), Budget.parse("20ms-p95"), 20.0, context(tmp_path))
    for config, ms in zip(GRID.configs, EXPECTED_MS, strict=True):
        assert governor.expected_ms(config, 2, 30) == ms
    assert governor.expected_ms(KnobConfig("high", 99, 99), 2, 30) is None


def test_with_the_modelled_clock_no_request_is_slower_than_expected(tmp_path):
    write_config_latency(tmp_path)
    found = context(tmp_path)
    modelled = replace(found, fingerprint=found.fingerprint.model_copy(update={"clock": "modelled"}))
    governor = load_governor(Ladder(), Budget.parse("20ms-p95"), 20.0, modelled)
    governor.begin_at(1.5)
    assert governor.expected_ms is None
    assert governor.state.slowdown == 1.0


def test_what_is_spent_includes_how_single_requests_scatter():
    latency_ms = np.linspace(50.0, 60.0, 100)
    still, scattered = spent(latency_ms), spent(latency_ms, 0.1)
    noisy_ms = np.random.default_rng(0).choice(latency_ms, 100_000) * np.exp(
        np.random.default_rng(1).normal(0, 0.1, 100_000)
    )
    assert scattered.mean == still.mean
    for promise, share in (("p90", 0.9), ("p95", 0.95)):
        assert getattr(scattered, promise) == pytest.approx(np.quantile(noisy_ms, share), rel=0.02)
    assert still.p95 == pytest.approx(np.quantile(latency_ms, 0.95), rel=0.01)


def test_a_plain_budget_needs_no_file(tmp_path):
    fixed = FixedController(GRID.full)
    assert load_governor(fixed, Budget.parse("20ms"), 20.0, context(tmp_path)).limit == Limit(20.0)
    with pytest.raises(AdaMolmoError, match=r"okvqa.json: does not exist; expected the JSON document config latency"):
        load_governor(fixed, Budget.parse("20ms-p95"), 20.0, context(tmp_path))


BAD_RESPONSES = (
    ({"budgets_ms": [3.0, 2.0]}, "budgets_ms does not rise"),
    ({"budgets_ms": [3.0]}, "spent_ms has another length"),
    ({"prices_per_ms": [0.0, 0.1]}, "spent_at_price_ms has another length"),
    ({"budgets_ms": []}, "expected"),
)


def test_a_response_that_makes_no_sense_is_refused(tmp_path):
    write_response(tmp_path, response("table"))
    path = tmp_path / response_path("reader")
    content = json.loads(path.read_text())
    for changes, sentence in BAD_RESPONSES:
        bad = {"controller": "reader", "datasets": {"okvqa": content["datasets"]["okvqa"] | changes}}
        path.write_text(json.dumps(sealed(bad)))
        with pytest.raises(AdaMolmoError, match=f"response.json: key 'datasets.okvqa.*{sentence}"):
            load_governor(Reader(), Budget.parse("20ms-p95"), 20.0, context(tmp_path))


class OpenTwice(Controller):
    """Decides after the prefix, and reads nothing before it."""

    name = "open_twice"

    def predict_stage1(self, inputs):
        return Decision("high")


@pytest.mark.parametrize("promise", ["p95", "mean"])
@pytest.mark.parametrize("controller", [FixedController(KnobConfig("high", 99, 99)), OpenTwice()])
def test_what_no_profile_knows_of_is_a_first_guess_and_no_end(tmp_path, controller, promise):
    write_config_latency(tmp_path)
    governor = load_governor(controller, Budget.parse(f"20ms-{promise}"), 20.0, context(tmp_path))
    told_ms = governor.limit.budget_ms
    governor.observe(30.0)
    assert governor.state.requests == 1 and 0 < governor.limit.budget_ms <= told_ms
