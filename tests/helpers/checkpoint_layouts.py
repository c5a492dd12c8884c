"""Checkpoints in the layouts of others."""

import re
from pathlib import Path

import torch
import yaml
from hub_cache import released_config
from safetensors.torch import save_file

from adamolmo.model.checkpoint import WEIGHTS
from adamolmo.model.molmoe import MolmoE


def write_olmo_checkpoint(folder: Path, model: MolmoE) -> None:
    """AI2's native names: no `model.`, blocks without `attn.` and `mlp.`, experts below each other."""
    tensors = {}
    for name, tensor in model.state_dict().items():
        block, _, part = name.partition(".mlp.experts.")
        if part == "gate_up":
            for native, half in zip(("w1", "v1"), tensor.chunk(2, dim=2), strict=True):
                tensors[f"{block}.ffn.experts.mlp.{native}"] = torch.cat([expert.T for expert in half])
        elif part == "down":
            tensors[f"{block}.ffn.experts.mlp.w2"] = torch.cat(list(tensor))
        else:
            native = re.sub(r"(transformer\.blocks\.\d+)\.(attn|mlp)\.(?!gate)", r"\1.", name)
            native = native.replace(".mlp.gate.", ".ffn.router.layer.").replace("lm_head.", "transformer.ff_out.")
            tensors[native] = tensor.contiguous()
    save_file(tensors, folder / WEIGHTS)
    (folder / "config.yaml").write_text(yaml.safe_dump({"run_name": "x", "model": released_config(model.config)}))
