"""Weights of a checkpoint directory as a model of transformers: by its own class, from safetensors alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from adamolmo.errors import AdaMolmoError, stable
from adamolmo.model.checkpoint import weight_files
from adamolmo.model.config import read_config
from adamolmo.transformers_backend.families import Family, family_of
from adamolmo.transformers_backend.library import explained, transformers


def read_family(directory: Path) -> Family:
    """Raises AdaMolmoError for an unreadable configuration, and for a model that is not supported."""
    path = Path(directory) / "config.json"
    return family_of(read_config(path).get("model_type"), path)


def load_config(directory: Path, family: Family, fixed_prefix_layers: int) -> Any:
    """Raises AdaMolmoError for an impossible configuration, and for a fixed prefix that the model cannot have."""
    with explained(directory / "config.json"):
        config = getattr(transformers, family.model_class).config_class.from_pretrained(
            directory, local_files_only=True
        )
    least, layers = family.least_prefix(config), config.get_text_config().num_hidden_layers
    if not least <= fixed_prefix_layers <= layers:
        raise AdaMolmoError(
            f"fixed_prefix_layers is {fixed_prefix_layers}; {family.model_type} takes {least} to {layers}."
        )
    return config


def load_model(
    directory: Path, family: Family, config: Any, dtype: torch.dtype, device: str | torch.device
) -> nn.Module:
    """The model, ready for inference; layer by layer over all GPUs, where the job has several.

    Raises AdaMolmoError when there are no safetensors, or tensors are missing, unused, or of another shape: the library
    would fill them with random numbers and say so in a log.
    """
    spread = {"device_map": "balanced"} if str(device) == "cuda" and torch.cuda.device_count() > 1 else {}
    model = _load(directory, family, config, dtype, **spread)
    model.set_experts_implementation("grouped_mm")  # not when loading: some towers refuse it
    return (model if spread else model.to(device)).eval().requires_grad_(False)


def load_first_layers(
    directory: Path, family: Family, fixed_prefix_layers: int, dtype: torch.dtype, device: str | torch.device
) -> nn.Module:
    """The decoder's first layers alone, without a final norm. Raises AdaMolmoError as `load_model`."""
    config = load_config(directory, family, fixed_prefix_layers)
    text = config.get_text_config()
    num_layers = text.num_hidden_layers
    for name, value in list(vars(text).items()):
        if isinstance(value, (list, tuple)) and len(value) == num_layers and name.startswith(("layer", "mlp_layer")):
            setattr(text, name, value[:fixed_prefix_layers])
    text.num_hidden_layers = fixed_prefix_layers
    model = _load(directory, family, config, dtype, unused_layers=True)
    model.set_experts_implementation("grouped_mm")
    decoder = model.get_decoder()
    decoder.norm = nn.Identity()
    return decoder.to(device).eval().requires_grad_(False)


def end_ids(directory: Path, config: Any) -> frozenset[int]:
    """Tokens that end an answer: several in most chat models. Raises AdaMolmoError where there are none."""
    found = None
    if (path := directory / "generation_config.json").is_file():
        with explained(path):
            found = transformers.GenerationConfig.from_pretrained(directory, local_files_only=True).eos_token_id
    if found is None:
        found = config.get_text_config().eos_token_id
    if found is None:
        raise AdaMolmoError(f"{directory}: neither generation_config.json nor config.json has an eos_token_id.")
    return frozenset([found] if isinstance(found, int) else found)


def _load(
    directory: Path, family: Family, config: Any, dtype: torch.dtype, unused_layers: bool = False, **placement: str
) -> nn.Module:
    weight_files(Path(directory))  # complains about pickles and about nothing at all
    try:
        model, report = getattr(transformers, family.model_class).from_pretrained(
            directory,
            config=config,
            dtype=dtype,
            attn_implementation="sdpa",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # refused below, by name
            output_loading_info=True,
            **placement,
        )
    except (OSError, RuntimeError, ValueError, KeyError, ImportError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise AdaMolmoError(f"{directory}: cannot be loaded as {family.model_type} ({stable(str(error))}).") from error
    faults = {"missing": report["missing_keys"], "of another shape": report["mismatched_keys"]}
    if not unused_layers:
        faults["unexpected"] = report["unexpected_keys"]
    for fault, names in faults.items():
        if names:
            shown = ", ".join(sorted(name if isinstance(name, str) else name[0] for name in names)[:4])
            raise AdaMolmoError(
                f"{directory}: {len(names)} tensors are {fault} ({shown}); expected those of its configuration."
            )
    return model
