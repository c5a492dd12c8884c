"""Tests of what only a GPU does; skipped where there is none."""

import dataclasses
from pathlib import Path

import pytest
import torch

from adamolmo.model.molmoe import MolmoE


def pytest_collection_modifyitems(items):
    """pytest passes the tests of all directories."""
    if not torch.cuda.is_available():
        for item in items:
            if item.path.parent == Path(__file__).parent:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def cpu_model(tiny_config) -> MolmoE:
    """The study's depth and experts; widths are multiples of 16 bytes, as grouped products on a GPU want them."""
    torch.manual_seed(5)
    config = dataclasses.replace(
        tiny_config, d_model=64, num_heads=4, num_layers=16, num_experts=16, top_k=8, expert_dim=48
    )
    model = MolmoE(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.normal_(std=2.0 * parameter.shape[-1] ** -0.5)
    return model


@pytest.fixture(scope="session")
def gpu_model(cpu_model) -> MolmoE:
    """The same weights in float32."""
    return _copy(cpu_model, torch.float32)


@pytest.fixture(scope="session")
def bf16_model(cpu_model) -> MolmoE:
    return _copy(cpu_model, torch.bfloat16)


def _copy(model: MolmoE, dtype: torch.dtype) -> MolmoE:
    copy = MolmoE(model.config)
    copy.load_state_dict(model.state_dict())
    rotary = copy.rotary
    copy = copy.to("cuda", dtype).eval().requires_grad_(False)
    copy.rotary = type(rotary)(model.config).cuda()  # stays in float32
    return copy
