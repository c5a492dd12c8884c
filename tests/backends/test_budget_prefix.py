"""The fixed prefix alone, which training runs: states of budget tokens behind stored prompts, and their gradients."""

import pytest

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")

import torch
from requests_of import QUESTIONS, begin
from tiny_families import TINY_FAMILIES

from adamolmo.transformers_backend.loading import load_budget_prefix

PREFIX = 3


@pytest.fixture(params=TINY_FAMILIES)
def stored(request, loaded, checkpoint, pictures):
    """(backend, its prompts on the device, the fixed prefix, entries padded on the right, lengths, positions)."""
    backend = loaded(request.param)
    with torch.no_grad():
        prompts = []
        for picture, question in zip(pictures, QUESTIONS, strict=True):
            asked = [backend.read_question(question, None)]
            prompts += backend.prepare(picture, asked, backend.tiers[0], backend.prompt_room(0))
        memories = backend.open_batch([[prompt] for prompt in prompts], 0).memories()
    lengths = torch.tensor([memory.entries.shape[2] for memory in memories])
    assert lengths.tolist() == [prompt.num_tokens for prompt in prompts]
    layers, two, _, width = memories[0].entries.shape
    entries = torch.full((layers, two, len(memories), max(lengths), width), torch.nan)
    for row, memory in enumerate(memories):
        entries[:, :, row, : lengths[row]] = memory.entries
        entries[:, :, row, lengths[row] :] = 7.0  # padding, which nobody may see
    positions = torch.tensor([memory.position for memory in memories])
    prefix = load_budget_prefix(checkpoint(request.param), PREFIX)
    return backend, [backend.to_device(prompt) for prompt in prompts], prefix, entries, lengths, positions


def test_only_the_first_layers_are_loaded(stored):
    backend, _, prefix, *_ = stored
    assert len(prefix.text.layers) == PREFIX < backend.sizes.num_layers
    assert prefix.dtype == torch.float32 and prefix.device.type == "cpu"


def test_states_are_those_of_requests_whatever_other_tokens_stand_beside(stored):
    backend, prompts, prefix, entries, lengths, positions = stored
    tokens = torch.randn(len(prompts), 4, backend.sizes.d_model)
    with torch.no_grad():
        states = prefix(tokens, entries, lengths, positions)
        for row, prompt in enumerate(prompts):
            for budget in range(4):
                want = begin(backend, prompt, tokens[row, budget][None]).prefix.budget_state[0]
                torch.testing.assert_close(states[row, budget], want, rtol=0, atol=2e-5)


def test_gradients_to_the_tokens_are_finite_differences(stored):
    backend, prompts, prefix, entries, lengths, positions = stored
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(len(prompts), 2, backend.sizes.d_model, generator=generator)
    weights = torch.randn(tokens.shape, generator=generator)

    def total(at):
        return (prefix(at, entries, lengths, positions) * weights).double().sum()

    tokens.requires_grad_()
    (gradient,) = torch.autograd.grad(total(tokens), tokens)
    errors = []
    with torch.no_grad():
        for _ in range(5):
            direction = torch.randn(tokens.shape, generator=generator)
            step = 1e-2 * direction / direction.norm()
            difference = total(tokens + step) - total(tokens - step)
            scale = gradient.norm() * step.norm()
            errors.append(((2 * (gradient * step).sum() - difference).abs() / scale).item())
    assert sorted(errors)[3] < 5e-3, errors  # of five one may jump: a router may choose another expert on the way
    assert (gradient.abs().sum(dim=-1) > 0).all()


def test_weights_take_no_gradient(stored):
    *_, prefix, entries, lengths, positions = stored
    assert not any(weight.requires_grad for weight in prefix.text.parameters())
