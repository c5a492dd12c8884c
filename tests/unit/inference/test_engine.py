from collections import Counter
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import pytest
import torch
from made_documents import importance
from PIL import ExifTags, Image

from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import read_json, write_json
from adamolmo.files.model import Manifest
from adamolmo.inference.clock import ModelledClock
from adamolmo.inference.controller import NOTHING, Controller, Decision, Limit
from adamolmo.inference.engine import Engine
from adamolmo.inference.readings import make_thumbnail, summarise_overview
from adamolmo.knobs import KnobConfig, KnobGrid
from adamolmo.model.preprocess import num_pictures


@dataclass
class Fixed(Controller):
    """Always the same configuration, with or without a budget token; remembers what both stages were given."""

    config: KnobConfig
    token: torch.Tensor | None = None
    wanted: frozenset = NOTHING
    seen: object = None
    read: object = None

    def reads(self, limit):
        return self.wanted

    def predict_stage1(self, inputs):
        self.read = inputs
        return Decision(self.config.tier)

    def budget_token(self, budget_ms):
        return self.token

    def predict_stage2(self, budget_ms, decision, budget_state):
        self.seen = (budget_ms, decision.tier, budget_state)
        return self.config.top_k, self.config.num_active_blocks


def ask(engine, sample, controller, budget_ms=100.0):
    return engine.answer(sample.open_image(), sample.question, "tiny", controller, Limit(budget_ms))


@pytest.mark.parametrize(
    ("wanted", "token", "network"),
    [(set(), False, False), ({"size"}, False, False), ({"size", "question"}, False, True), (set(), True, True)],
)
def test_a_response_says_whether_a_network_decided(tiny_engine, tiny_samples, tiny_grid, wanted, token, network):
    budget_token = torch.zeros(1, tiny_engine.backend.model.config.d_model) if token else None
    response = ask(tiny_engine, tiny_samples[0], Fixed(tiny_grid[0], budget_token, frozenset(wanted)))
    assert response.network_decided == network


def test_answers_depend_on_sample_and_knobs(tiny_engine, tiny_samples, tiny_grid):
    """Otherwise the comparisons of this directory would compare nothing."""
    answers = {(s.sample_id, c): ask(tiny_engine, s, Fixed(c)).answer for s in tiny_samples for c in tiny_grid}
    assert len(set(answers.values())) > 30
    assert sum(len({answers[s.sample_id, c] for c in tiny_grid}) > 3 for s in tiny_samples) >= 8


def test_response_describes_the_request(tiny_engine, tiny_samples):
    response = ask(tiny_engine, tiny_samples[0], Fixed(KnobConfig("high", 3, 6)))
    inputs = tiny_engine.prepare(tiny_samples[0].open_image(), tiny_samples[0].question, "tiny", "high")
    assert response.config == KnobConfig("high", 3, 6)
    assert response.num_crops == inputs.pixels.shape[1] > 2
    assert response.input_tokens == inputs.input_ids.shape[1]
    assert response.output_tokens == len(response.answer.split()) <= 4
    assert response.flops > 0
    assert response.memory_bytes > 4 * tiny_engine.backend.costs.num_weights()


def test_output_tokens_vary(tiny_engine, tiny_samples, tiny_grid):
    lengths = Counter(ask(tiny_engine, s, Fixed(c)).output_tokens for s in tiny_samples for c in tiny_grid[:6])
    assert lengths[4]
    assert sum(count for length, count in lengths.items() if length < 4)


def test_decode_steps_are_the_passes_that_ran(tiny_engine, tiny_samples, monkeypatch):
    """Both kinds of answer occur: ended by the end token, which takes a pass of its own, and cut off at the limit."""
    passes, token_pass = [], tiny_engine.backend.decoder._token_pass
    monkeypatch.setattr(tiny_engine.backend.decoder, "_token_pass", lambda *args: passes.append(1) or token_pass(*args))
    lengths = set()
    for sample in tiny_samples:
        passes.clear()
        response = ask(tiny_engine, sample, Fixed(KnobConfig("low", 2, 5)))
        assert tiny_engine.decode_steps(response.output_tokens) == len(passes)
        lengths.add(response.output_tokens)
    assert 4 in lengths
    assert len(lengths) > 1


def test_the_size_of_a_request_is_known_before_it_has_run(tiny_engine, tiny_samples):
    for sample in tiny_samples:
        asked = Fixed(KnobConfig("low", 2, 5), wanted=frozenset({"size"}))
        ask(tiny_engine, sample, asked)
        for place, tier in enumerate(("low", "high")):
            response = ask(tiny_engine, sample, Fixed(KnobConfig(tier, 2, 5)))
            assert asked.read.size.num_crops[place] == response.num_crops
            assert asked.read.size.input_tokens[place] == response.input_tokens
    assert asked.read.question is asked.read.overview is None


def test_an_image_that_lies_on_its_side_is_measured_upright(tiny_engine):
    lying, exif = Image.new("RGB", (60, 20)), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    lying.getexif().update(exif)
    upright = np.zeros((60, 20, 3), dtype=np.uint8)
    assert tiny_engine.request_size(lying, [1]) == tiny_engine.request_size(upright, [1])
    num_crops = tiny_engine.prepare(lying, "red ?", "tiny", "high").pixels.shape[1]
    assert num_crops == tiny_engine.request_size(lying, [1]).num_crops[1] > 2


def test_prompt_length_is_that_of_the_inputs(tiny_engine, tiny_samples):
    for sample in tiny_samples:
        for tier in ("low", "high"):
            image = sample.open_image()
            inputs = tiny_engine.prepare(image, sample.question, "tiny", tier)
            question = tiny_engine.backend.read_question(sample.question, "tiny")
            size = tiny_engine.backend.prompt_size(image, question, tier)
            assert size == (inputs.num_crops, inputs.num_tokens) == (inputs.pixels.shape[1], inputs.input_ids.shape[1])


def test_budget_token_does_not_change_the_answer(tiny_engine, tiny_samples, tiny_grid):
    token = torch.randn(1, 16, generator=torch.Generator().manual_seed(1)) * 3
    for config in tiny_grid[::4]:
        for sample in tiny_samples[:4]:
            plain, with_token = Fixed(config), Fixed(config, token)
            assert ask(tiny_engine, sample, plain).answer == ask(tiny_engine, sample, with_token).answer
            assert plain.seen[2] is None
            assert with_token.seen[2].shape == (1, 16)


def test_budget_token_state_reads_the_prompt_and_leaves_the_prefix_alone(tiny_engine, tiny_samples):
    model, states = tiny_engine.backend.model, []
    token = torch.randn(1, 16, generator=torch.Generator().manual_seed(1))
    for sample in tiny_samples[:2]:
        inputs = tiny_engine.prepare(sample.open_image(), sample.question, "tiny", "low")
        prompt = model.embed(inputs.input_ids)
        plain, with_token = model.run_prefix(prompt), model.run_prefix(prompt, budget_token=token)
        torch.testing.assert_close(with_token.hidden, plain.hidden, rtol=1e-4, atol=1e-5)
        states.append(with_token.budget_state)
    assert not torch.allclose(*states, atol=1e-2)


def test_controller_is_given_budget_and_tier(tiny_engine, tiny_samples):
    controller = Fixed(KnobConfig("low", 2, 5))
    ask(tiny_engine, tiny_samples[0], controller, budget_ms=42.0)
    assert controller.seen == (42.0, "low", None)


def test_controller_is_given_what_it_asks_for_and_nothing_else(tiny_engine, tiny_samples):
    sample, config = tiny_samples[3], KnobConfig("low", 2, 5)
    plain = Fixed(config)
    ask(tiny_engine, sample, plain)
    assert (plain.read.question, plain.read.overview, plain.read.thumbnail) == (None, None, None)
    reader = Fixed(config, wanted=frozenset({"question", "overview", "thumbnail"}))
    ask(tiny_engine, sample, reader)
    model, inputs = tiny_engine.backend.model, tiny_engine.prepare(sample.open_image(), sample.question, "tiny", "high")
    ids = torch.tensor(tiny_engine.backend.read_question(sample.question, "tiny"))
    torch.testing.assert_close(reader.read.question, model.transformer["wte"](ids).mean(dim=0, keepdim=True))
    patches = model.vision_backbone.encode(inputs.pixels[:, :1])[0]
    torch.testing.assert_close(reader.read.overview, summarise_overview(patches[0])[None])
    torch.testing.assert_close(reader.read.thumbnail, make_thumbnail(sample.open_image())[None] / 255)


def test_reused_overview_gives_the_same_answer_and_costs_one_pass(tiny_engine, tiny_samples, tiny_grid):
    """The features equal those of all crops at once, and no picture passes the tower twice."""
    tower, passes = tiny_engine.backend.model.vision_backbone.image_vit, []
    hook = tower.register_forward_hook(lambda module, inputs, output: passes.append(len(inputs[0])))
    reader = frozenset({"overview"})
    try:
        for sample in tiny_samples[:4]:
            for config in tiny_grid[::5]:
                passes.clear()
                plain = ask(tiny_engine, sample, Fixed(config))
                at_once = passes.copy()
                passes.clear()
                reused = ask(tiny_engine, sample, Fixed(config, wanted=reader))
                assert reused.answer == plain.answer
                assert reused.flops == pytest.approx(plain.flops)
                assert passes == ([1] if plain.num_crops == 2 else [1, plain.num_crops - 1])
                assert at_once == [num_pictures(plain.num_crops)]
        tiny_engine.reuse_overview = False
        passes.clear()
        twice = ask(tiny_engine, sample, Fixed(config, wanted=reader))
        assert passes == [1, num_pictures(plain.num_crops)]
        assert twice.flops > reused.flops
        assert twice.stages.vision_ms > reused.stages.vision_ms > plain.stages.vision_ms
    finally:
        hook.remove()


def test_what_is_seen_of_a_prompt_is_what_all_its_crops_give(tiny_engine, tiny_samples):
    """Also where the tower runs once for two crops that are the same picture, and whether or not it ran before."""
    backend, numbers = tiny_engine.backend, set()
    for sample in tiny_samples[:4]:
        image = sample.open_image()
        overview = backend.encode_overviews([backend.load_overview(image)]).reusable
        for tier in backend.tiers:
            prompt = tiny_engine.prepare(image, sample.question, "tiny", tier)
            numbers.add(prompt.num_crops)
            expected = backend.model.vision_backbone(prompt.pixels, prompt.masks)
            for seen, _ in (backend.see(prompt), backend.see(prompt, overview)):
                torch.testing.assert_close(seen, expected, rtol=1e-5, atol=1e-5)
    assert len(numbers) > 1 and 2 in numbers


def test_vision_features_of_a_crop_encoded_apart(tiny_engine, tiny_samples):
    backbone = tiny_engine.backend.model.vision_backbone
    for sample in tiny_samples[::2]:
        inputs = tiny_engine.prepare(sample.open_image(), sample.question, "tiny", "high")
        apart = torch.cat([backbone.encode(inputs.pixels[:, :1]), backbone.encode(inputs.pixels[:, 1:])], dim=1)
        torch.testing.assert_close(
            backbone.connect(apart, inputs.masks), backbone(inputs.pixels, inputs.masks), rtol=1e-5, atol=1e-5
        )


def test_stages_sum_to_the_measured_total(measured_engine, tiny_samples):
    ratios = []
    for sample in tiny_samples * 2:
        image = sample.open_image()
        start = perf_counter()
        response = measured_engine.answer(image, sample.question, "tiny", Fixed(KnobConfig("high", 4, 7)), Limit(100.0))
        wall_ms = (perf_counter() - start) * 1e3
        assert all(value > 0 for value in vars(response.stages).values())
        ratios.append((response.stages.total_ms + response.stages.preprocess_ms) / wall_ms)
    assert max(ratios) <= 1.0
    assert sorted(ratios)[len(ratios) // 2] > 0.95


def test_end_of_the_request_is_part_of_its_decode_stage(measured_engine, tiny_samples, monkeypatch):
    """The answer's text and the release of the request's memory: on a clock that only these two advance."""
    now_ns = 0

    def takes(ms):
        nonlocal now_ns
        now_ns += int(ms * 1e6)

    class Cache:
        def __init__(self, cache):
            self.blocks = cache

        def __getattr__(self, name):
            return getattr(self.blocks, name)

        def __del__(self):
            takes(7)

    monkeypatch.setattr("adamolmo.inference.clock.time.perf_counter_ns", lambda: now_ns)
    backend = measured_engine.backend
    new_cache, decode = backend.new_cache, backend.decode_answer
    monkeypatch.setattr(backend, "new_cache", lambda num: Cache(new_cache(num)))
    monkeypatch.setattr(backend, "decode_answer", lambda tokens: takes(5) or decode(tokens))
    stages = ask(measured_engine, tiny_samples[0], Fixed(KnobConfig("high", 3, 6))).stages
    assert (stages.decode_ms, stages.total_ms) == (12, 12)


def test_modelled_latency_is_deterministic_and_follows_the_knobs(tiny_engine, tiny_samples):
    first, second = (ask(tiny_engine, tiny_samples[1], Fixed(KnobConfig("high", 4, 7))) for _ in range(2))
    assert first == second
    assert first.stages.preprocess_ms == 0
    cheaper = [KnobConfig("low", 4, 7), KnobConfig("high", 3, 7), KnobConfig("high", 4, 6)]
    for config in cheaper:
        stages = ask(tiny_engine, tiny_samples[1], Fixed(config)).stages
        assert stages.prefill_ms < first.stages.prefill_ms
        assert (stages.vision_ms < first.stages.vision_ms) == (config.tier == "low")


def test_network_decision_costs_more_than_a_table(tiny_engine, tiny_samples):
    table = ask(tiny_engine, tiny_samples[0], Fixed(KnobConfig("low", 4, 7))).stages
    network = ask(tiny_engine, tiny_samples[0], Fixed(KnobConfig("low", 4, 7), torch.ones(1, 16))).stages
    assert 0 < table.controller_ms < network.controller_ms
    assert table.prefill_ms < network.prefill_ms  # one more token through the prefix


def test_unknown_tier_is_refused(tiny_engine, tiny_samples):
    with pytest.raises(AdaMolmoError, match="tier is 'huge'; expected one of low, high"):
        ask(tiny_engine, tiny_samples[0], Fixed(KnobConfig("huge", 4, 7)))


def test_more_experts_than_the_model_has_are_refused(tiny_engine, tiny_samples):
    with pytest.raises(AdaMolmoError, match="top_k is 9; this model has 8 experts"):
        ask(tiny_engine, tiny_samples[0], Fixed(KnobConfig("low", 9, 7)))


def write_scores(model_dir, checksum=None):
    """For the model, or for the one with this checksum."""
    path = model_dir / "scores.json"
    own = read_json(model_dir / "manifest.json", Manifest).checksum
    write_json(importance(model_checksum=checksum or own), path)
    return path


SETTINGS = {
    "configs": KnobGrid(("low", "high"), (2, 3, 4), (5, 6, 7)).configs,
    "tiers": {"low": {"min_crops": 1, "max_crops": 1}, "high": {"min_crops": 1, "max_crops": 4}},
    "clock": ModelledClock(),
    "max_new_tokens": 4,
}


def test_loaded_engine_answers_like_the_one_in_memory(tiny_model_dir, tiny_engine, tiny_samples):
    engine = Engine.load(tiny_model_dir, write_scores(tiny_model_dir), **SETTINGS)
    controller = Fixed(KnobConfig("high", 3, 5))
    for sample in tiny_samples[:3]:
        assert ask(engine, sample, controller) == ask(tiny_engine, sample, controller)


def test_model_directory_without_manifest_is_refused(tiny_model_dir):
    scores = write_scores(tiny_model_dir)
    (tiny_model_dir / "manifest.json").unlink()
    with pytest.raises(AdaMolmoError, match="manifest.json"):
        Engine.load(tiny_model_dir, scores, **SETTINGS)


def test_scores_of_another_model_are_refused(tiny_model_dir):
    scores = write_scores(tiny_model_dir, "xyz")
    with pytest.raises(AdaMolmoError, match="scores.json: the importance scores belong to another model .*xyz"):
        Engine.load(tiny_model_dir, scores, **SETTINGS)


def test_engine_without_scores_refuses_fewer_blocks(tiny_model_dir, tiny_samples):
    engine = Engine.load(tiny_model_dir, None, **SETTINGS)
    ask(engine, tiny_samples[0], Fixed(KnobConfig("low", 4, 7)))
    with pytest.raises(AdaMolmoError, match="num_active_blocks is 6"):
        ask(engine, tiny_samples[0], Fixed(KnobConfig("low", 4, 6)))
