"""The fixed prefix alone, which training runs, as the library's models are loaded for it. What it computes is the
contract's part about budget tokens (test_interface_budget_tokens.py)."""

import pytest

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")

import torch
from tiny_families import TINY_FAMILIES

from adamolmo.transformers_backend.loading import load_budget_prefix

PREFIX = 3


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_only_the_first_layers_are_loaded_and_none_is_trained(family, loaded, checkpoint):
    prefix = load_budget_prefix(checkpoint(family), PREFIX)
    assert len(prefix.text.layers) == PREFIX < loaded(family).sizes.num_layers
    assert prefix.dtype == torch.float32 and prefix.device.type == "cpu"
    assert not any(weight.requires_grad for weight in prefix.text.parameters())
