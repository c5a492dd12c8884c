"""The contract's part about budget tokens: in requests, and behind stored prompts as training has them."""

import numpy as np
import pytest
import torch
from asking import PREFIX, answer, prompts_of, settings
from requests_of import QUESTIONS
from torch import Tensor

from adamolmo.backend.interface import Backend
from adamolmo.backend.loading import load_budget_prefix


def budget_tokens(backend: Backend, count: int) -> Tensor:
    """[count, d_model]"""
    return torch.randn(count, backend.sizes.d_model, generator=torch.Generator().manual_seed(3))


def test_a_budget_token_leaves_answers_as_they_are(backend, pictures):
    for picture, question in zip(pictures, QUESTIONS, strict=True):
        (prompt,) = prompts_of(backend, picture, [question])
        for knobs in settings(backend)[::4]:
            want = answer(backend, prompt, knobs)
            for token in 10 * budget_tokens(backend, 2)[:, None]:
                assert answer(backend, prompt, knobs, token) == want


@pytest.fixture
def stored(model, pictures):
    """Three prompts of different lengths behind which budget tokens stand: (prompts, entries, lengths, positions)."""
    backend = model.backend
    prompts = [
        prompt
        for picture, question in zip(pictures, QUESTIONS, strict=True)
        for prompt in prompts_of(backend, picture, [question])
    ]
    with torch.no_grad():
        memories = backend.open_batch([[prompt] for prompt in prompts], 0).memories()
    lengths = torch.tensor([memory.entries.shape[2] for memory in memories])
    assert lengths.tolist() == [prompt.num_tokens for prompt in prompts] and len(set(lengths.tolist())) > 1
    layers, two, _, width = memories[0].entries.shape
    entries = torch.full((layers, two, len(memories), max(lengths), width), 7.0)  # padding, which nobody may see
    for row, memory in enumerate(memories):
        entries[:, :, row, : lengths[row]] = memory.entries
    return prompts, entries, lengths, torch.tensor([memory.position for memory in memories])


def test_states_behind_stored_prompts_are_those_of_requests(model, stored):
    backend, (prompts, *memory) = model.backend, stored
    prefix = load_budget_prefix(model.prepared, PREFIX, torch.float32, "cpu")
    tokens = budget_tokens(backend, 4).expand(len(prompts), -1, -1)
    with torch.inference_mode():
        states = prefix(tokens, *memory)
        for row, prompt in enumerate(map(backend.to_device, prompts)):
            seen, _ = backend.see(prompt)
            for number, token in enumerate(tokens[row]):
                cache = backend.new_cache(prompt.num_tokens + 1)
                found = backend.run_prefix(prompt, seen, cache, token[None])
                assert found.num_tokens == prompt.num_tokens
                assert found.budget_state.shape == (1, backend.sizes.d_model)
                torch.testing.assert_close(states[row, number], found.budget_state[0], rtol=0, atol=5e-5)
    assert not torch.equal(states[0], states[1])  # they see their prompts


def test_gradients_to_budget_tokens_are_finite_differences(model, stored):
    prefix = load_budget_prefix(model.prepared, PREFIX, torch.float32, "cpu")
    generator = torch.Generator().manual_seed(0)
    _, *memory = stored
    shape = (len(memory[1]), 3, model.backend.sizes.d_model)
    tokens, weights = (torch.randn(shape, generator=generator) for _ in range(2))

    def total(at: Tensor) -> Tensor:
        return (prefix(at, *memory) * weights).double().sum()

    tokens.requires_grad_()
    (gradient,) = torch.autograd.grad(total(tokens), tokens)
    assert (gradient.abs().sum(dim=-1) > 0).all()
    errors = []
    with torch.no_grad():
        for row, number in np.ndindex(shape[:2]):
            step = torch.zeros(shape)
            step[row, number] = torch.randn(shape[2], generator=generator)
            step *= 1e-2 / step.norm()
            difference = total(tokens + step) - total(tokens - step)
            scale = gradient[row, number].norm() * step.norm()
            errors.append(((2 * (gradient * step).sum() - difference).abs() / scale).item())
    assert sorted(errors)[-2] < 1e-2, errors  # one may jump: a router may choose another expert on the way
