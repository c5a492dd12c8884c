import pytest
import torch
from flop_counting import count

from adamolmo.knobs import DecoderKnobs
from adamolmo.model.cost import Cost, CostModel


@pytest.fixture
def costs(tiny_config):
    return CostModel(tiny_config)


def test_vision_flops(tiny_model, costs):
    pixels, masks = torch.rand(1, 5, 36, 48), torch.ones(1, 5, 36)
    assert costs.vision(5).flops == count(lambda: tiny_model.vision_backbone(pixels, masks))


def test_flops_of_two_crops_that_are_one_picture(tiny_model, costs):
    pixels, masks = torch.rand(1, 1, 36, 48), torch.ones(1, 2, 36)
    backbone = tiny_model.vision_backbone
    assert costs.vision(2).flops == count(
        lambda: backbone.connect(backbone.encode(pixels).expand(-1, 2, -1, -1), masks)
    )


@pytest.mark.parametrize("knobs", [DecoderKnobs(4, tuple(range(7))), DecoderKnobs(2, (0, 1, 2, 4, 6))])
def test_prefill_and_decode_flops(tiny_model, costs, knobs):
    tokens = 33
    cache = tiny_model.new_cache(1, tokens + 3)
    prompt = torch.randn(1, tokens, 16)
    assert costs.prefix(tokens).flops == count(lambda: tiny_model.run_prefix(prompt, cache=cache))
    prefix = tiny_model.run_prefix(prompt, cache=cache)
    assert costs.adaptive(tokens, knobs).flops == count(lambda: tiny_model.next_token_logits(prefix, knobs, cache))

    def decode_twice():
        for step in range(2):
            tiny_model.decode(torch.tensor([5]), prefix.lengths + step, knobs, cache, tokens + step + 1)

    assert costs.decode(tokens, 2, knobs).flops == count(decode_twice)


def test_number_of_weights(tiny_model, costs):
    assert costs.num_weights() == sum(parameter.numel() for parameter in tiny_model.parameters())


def test_bytes_grow_with_the_experts_that_are_read(costs):
    all_blocks = tuple(range(7))
    few, many = (costs.decode(10, 1, DecoderKnobs(k, all_blocks)).bytes for k in (2, 4))
    four_blocks_two_experts = 4 * 2 * 3 * 16 * 12 * 4
    assert many - few == pytest.approx(four_blocks_two_experts, rel=0.2)
    # Nearly every expert is hit by a long prompt, whatever top_k is.
    assert costs.adaptive(1, DecoderKnobs(2, all_blocks)).bytes < costs.adaptive(2, DecoderKnobs(2, all_blocks)).bytes


def test_costs_add_up(costs):
    knobs = DecoderKnobs(3, tuple(range(7)))
    assert costs.decode(10, 2, knobs) == costs.decode(10, 1, knobs) + costs.decode(11, 1, knobs)
    assert costs.decode(10, 0, knobs) == Cost()


def test_element_size_scales_bytes_only(tiny_config, costs):
    half = CostModel(tiny_config, element_bytes=2)
    full_cost, half_cost = costs.vision(3), half.vision(3)
    assert (half_cost.flops, half_cost.bytes) == (full_cost.flops, full_cost.bytes / 2)
    assert half.memory_bytes(3, 30, 4, 4) == costs.memory_bytes(3, 30, 4, 4) / 2
