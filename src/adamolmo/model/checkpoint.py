"""Checkpoints: from the released tensor names to this model's and back, strictly.

A checkpoint is a directory with `config.json`, `tokenizer.json` and `model.safetensors` (or several, with an index).
Every tensor must be used and none may be missing; anything else is one error that lists the names.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from adamolmo.errors import AdaMolmoError
from adamolmo.model.config import MolmoEConfig
from adamolmo.model.molmoe import MolmoE

_EXPERT = re.compile(r"(transformer\.blocks\.\d+\.mlp\.experts)\.(\d+)\.(gate_proj|up_proj|down_proj)\.weight")
# A later public copy of the model's code names the head differently.
_OTHER_HEAD = "transformer.ff_out.weight"


def load_model(
    directory: Path, fixed_prefix_layers: int = 3, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> MolmoE:
    """The model of a checkpoint directory, ready for inference.

    Raises:
        AdaMolmoError: a file cannot be read, or tensors are missing, unexpected or of another shape.
    """
    config = MolmoEConfig.load(Path(directory) / "config.json", fixed_prefix_layers)
    with torch.device("meta"):
        model = MolmoE(config)
    tensors = stack_experts(dict(read_tensors(Path(directory))))
    check_tensors({name: tuple(t.shape) for name, t in model.state_dict().items()}, tensors, directory)
    model.load_state_dict({name: t.to(device, dtype) for name, t in tensors.items()}, assign=True)
    model.rotary = type(model.rotary)(config).to(device)
    return model.eval().requires_grad_(False)


def read_tensors(directory: Path) -> Iterator[tuple[str, Tensor]]:
    """Names without the leading `model.` and tensors of every safetensors file of a checkpoint."""
    for path in _weight_files(directory):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (safe_open is not a mapping)
                    canonical = name.removeprefix("model.")
                    yield ("lm_head.weight" if canonical == _OTHER_HEAD else canonical), file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise AdaMolmoError(f"{path}: cannot be read as safetensors ({error}).") from error


def _weight_files(directory: Path) -> list[Path]:
    index = directory / "model.safetensors.index.json"
    if not index.exists():
        return [directory / "model.safetensors"]
    return [directory / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]


def stack_experts(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Replaces the experts' single matrices by the two stacked tensors of `Experts`; other tensors pass through."""
    single: dict[str, dict[tuple[str, int], Tensor]] = {}
    stacked = {}
    for name, tensor in tensors.items():
        if match := _EXPERT.fullmatch(name):
            single.setdefault(match[1], {})[match[3], int(match[2])] = tensor
        else:
            stacked[name] = tensor
    for prefix, experts in single.items():
        count = 1 + max(index for _, index in experts)
        if missing := [f"{prefix}.{e}.{p}.weight" for e in range(count) for p in _PARTS if (p, e) not in experts]:
            raise AdaMolmoError(f"checkpoint: missing tensors {_names(missing)}; expected every expert of the block.")
        gate, up, down = (torch.stack([experts[part, e].T for e in range(count)]) for part in _PARTS)
        stacked[f"{prefix}.gate_up"] = torch.cat([gate, up], dim=2)
        stacked[f"{prefix}.down"] = down
    return stacked


_PARTS = ("gate_proj", "up_proj", "down_proj")


def unstack_experts(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `stack_experts`, with the released names."""
    released = {}
    for name, tensor in tensors.items():
        prefix, _, kind = name.rpartition(".")
        if kind == "gate_up":
            gate, up = tensor.chunk(2, dim=2)
            parts = {"gate_proj": gate, "up_proj": up}
        elif kind == "down":
            parts = {"down_proj": tensor}
        else:
            released[name if name == "lm_head.weight" else f"model.{name}"] = tensor.contiguous()
            continue
        for part, experts in parts.items():
            for expert, matrix in enumerate(experts):
                released[f"model.{prefix}.{expert}.{part}.weight"] = matrix.T.contiguous()
    return released


def save_released(model: MolmoE, path: Path, dtype: torch.dtype) -> None:
    """Writes the weights in the released format (names, one matrix per expert) to one safetensors file."""
    tensors = {name: t.detach().to(dtype) for name, t in model.state_dict().items()}
    save_file(unstack_experts(tensors), path, metadata={"format": "pt"})


def check_tensors(expected: dict[str, tuple[int, ...]], found: dict[str, Tensor], source: Path) -> None:
    """Raises AdaMolmoError that lists missing, unexpected and misshapen tensors."""
    faults = []
    if missing := sorted(expected.keys() - found.keys()):
        faults.append(f"missing tensors {_names(missing)}")
    if extra := sorted(found.keys() - expected.keys()):
        faults.append(f"unexpected tensors {_names(extra)}")
    wrong = [
        f"{name} {list(found[name].shape)} instead of {list(shape)}"
        for name, shape in sorted(expected.items())
        if name in found and tuple(found[name].shape) != shape
    ]
    if wrong:
        faults.append(f"wrong shapes {_names(wrong)}")
    if faults:
        raise AdaMolmoError(f"{source}: {'; '.join(faults)}; expected exactly the tensors of its config.json.")


def _names(names: list[str], limit: int = 8) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
