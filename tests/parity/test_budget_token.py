"""The budget token through the fixed prefix, in one go and from stored keys and values (golden case 7)."""

import numpy as np
import pytest
import torch

from adamolmo.controllers.training.features import stack_prompts
from adamolmo.model.budget_prefix import FixedPrefix, prompt_memories
from adamolmo.model.checkpoint import load_model
from adamolmo.model.config import MolmoEConfig

TOLERANCE = {"atol": 5e-4, "rtol": 1e-4}


@pytest.fixture(scope="module")
def directory(golden):
    return golden / "molmoe_tiny"


@pytest.fixture(scope="module")
def expected(directory) -> dict[str, torch.Tensor]:
    return _read(directory / "budget_token.npz")


def _read(path) -> dict[str, torch.Tensor]:
    with np.load(path) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def _prompt(model, inputs) -> torch.Tensor:
    features = model.vision_backbone(inputs["images"], inputs["image_masks"]) if "images" in inputs else None
    return model.embed(inputs["input_ids"], features, inputs.get("image_input_idx"))


def _both_ways(directory, num_layers: int, inputs, budget_token) -> tuple:
    """PrefixState with the token, and the token's state from the keys and values of a run without it."""
    model = load_model(directory, num_layers)
    prompt, mask = _prompt(model, inputs), inputs["attention_mask"]
    state = model.run_prefix(prompt, mask, budget_token=budget_token)
    cache = model.new_cache(*prompt.shape[:2])
    memories = prompt_memories(cache, model.run_prefix(prompt, mask, cache).lengths, num_layers)
    prefix = FixedPrefix.load(directory, num_layers)
    tokens = torch.stack([budget_token.flip(-1), budget_token], dim=1)  # a second token must not matter
    return state, prefix(tokens, *stack_prompts(memories, torch.float32, "cpu"))[:, 1]


def _prefix_lengths(directory) -> range:
    """The golden rows are the states after layers 1, 2, ...: each is one length of the fixed prefix."""
    return range(1, MolmoEConfig.load(directory / "config.json", 0).num_layers)


def test_image_prompt(directory, expected):
    inputs = _read(directory / "image_text.npz")
    budget_token = expected["budget_embedding"][None]
    for num_layers in _prefix_lengths(directory):
        state, stored = _both_ways(directory, num_layers, inputs, budget_token)
        want = expected["last_hidden_after_layers"][num_layers - 1]
        torch.testing.assert_close(state.budget_state[0], want, **TOLERANCE)
        torch.testing.assert_close(stored[0], want, **TOLERANCE)
        torch.testing.assert_close(stored, state.budget_state, atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(state.hidden, inputs["hidden_states"][num_layers], **TOLERANCE)
        if num_layers == 3:
            torch.testing.assert_close(state.hidden[0], expected["hidden_all_positions_after_layer3"][:-1], **TOLERANCE)


def test_padded_text_prompts(directory, expected):
    inputs = _read(directory / "text_batch.npz")
    budget_token = expected["budget_embedding"].expand(len(inputs["input_ids"]), -1)
    for num_layers in _prefix_lengths(directory):
        state, stored = _both_ways(directory, num_layers, inputs, budget_token)
        want = expected["text_last_hidden_after_layers"][num_layers - 1]
        torch.testing.assert_close(state.budget_state, want, **TOLERANCE)
        torch.testing.assert_close(stored, want, **TOLERANCE)


def test_the_prompt_goes_on_as_if_there_were_no_token(directory, expected):
    inputs = _read(directory / "image_text.npz")
    model = load_model(directory, 3)
    state = model.run_prefix(_prompt(model, inputs), budget_token=expected["budget_embedding"][None])
    torch.testing.assert_close(model.run_adaptive(state, model.full_knobs), inputs["logits"], **TOLERANCE)
