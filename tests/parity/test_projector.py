"""A projector that is not as wide as the vision tower, from checkpoints of every layout, against its formula."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from checkpoint_layouts import write_olmo_checkpoint
from hub_cache import released_config, write_released_checkpoint
from torch.nn.functional import silu

from adamolmo.model.checkpoint import load_model, prepare_checkpoint
from adamolmo.model.cost import CostModel
from adamolmo.model.molmoe import MolmoE

PROJECTOR = "vision_backbone.image_projector"


@pytest.fixture(params=[10, 20])
def model(request, tiny_config) -> MolmoE:
    """The tower is 16 wide, an expert 12."""
    torch.manual_seed(1)
    return random_model(replace(tiny_config, projector_dim=request.param))


def random_model(config) -> MolmoE:
    model = MolmoE(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.2)
    return model


@pytest.fixture(params=["released", "olmo", "stacked"])
def checkpoint(request, model, tmp_path, tiny_tokenizer_file):
    """Its `mlp_hidden_size` is twice the projector's width."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    shutil.copy(tiny_tokenizer_file, folder / "tokenizer.json")
    if request.param == "olmo":
        write_olmo_checkpoint(folder, model)
        return folder
    write_released_checkpoint(folder, model, shards=2, dtype=torch.float32)
    if request.param == "released":
        return folder
    prepare_checkpoint(folder, tmp_path / "prepared", torch.float32)
    return tmp_path / "prepared"


def test_the_projector_is_the_gated_mlp_of_the_reference(model, checkpoint):
    loaded = load_model(checkpoint)
    assert loaded.config == model.config
    weights = {name: loaded.state_dict()[f"{PROJECTOR}.{name}.weight"] for name in ("w1", "w2", "w3")}
    assert weights["w1"].shape == weights["w3"].shape == (model.config.projector_dim, 16)
    x = torch.randn(5, 16)
    expected = (silu(x @ weights["w1"].T) * (x @ weights["w3"].T)) @ weights["w2"].T
    torch.testing.assert_close(loaded.vision_backbone.image_projector(x), expected)
    ids = torch.randint(0, 24, (1, 20))
    pixels, masks = torch.randn(1, 2, 36, 48), torch.rand(1, 2, 36)
    index = torch.arange(18).view(1, 2, 9)
    assert torch.equal(loaded(ids, None, pixels, masks, index), model(ids, None, pixels, masks, index))


def test_the_width_is_half_of_mlp_ratio_times_d_model(model, tmp_path):
    """As the released configuration of MolmoE-1B says it, where it gives the tower's width by chance."""
    raw = released_config(model.config) | {"mlp_hidden_size": None, "mlp_ratio": 2}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    write_released_checkpoint(tmp_path, random_model(replace(model.config, projector_dim=16)), 1, torch.float32)
    (tmp_path / "config.json").write_text(json.dumps(raw))
    assert load_model(tmp_path).config.projector_dim == 16 == 2 * model.config.d_model // 2


def test_costs_count_the_projector_as_it_is(model):
    assert CostModel(model.config).num_weights() == sum(parameter.numel() for parameter in model.parameters())
