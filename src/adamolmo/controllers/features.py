"""What the two-stage controllers are trained on: the keys and values that a prompt leaves in the fixed prefix.

The budget token is the only position whose course through the prefix depends on the controller, and it sees the prompt
only through these keys and values. Stored once per (sample, tier), they let training push a budget token through the
prefix, with gradients to its encoder, without vision, the prompt or the rest of the model.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from adamolmo.data.samples import Sample
from adamolmo.errors import AdaMolmoError
from adamolmo.grid import batches_by_length, run_shared
from adamolmo.model.checkpoint import check_tensors, read_tensors, stack_experts
from adamolmo.model.config import MolmoEConfig
from adamolmo.model.decoder import DecoderBlock, KVCache, Positions, Rotary
from adamolmo.model.molmoe import PrefixState
from adamolmo.progress import progress

if TYPE_CHECKING:
    from adamolmo.engine import Engine


class FixedPrefix(nn.Module):
    """The blocks of the fixed prefix alone, for one more token behind a stored prompt."""

    def __init__(self, config: MolmoEConfig):
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.fixed_prefix_layers))
        self.rotary = Rotary(config)

    @classmethod
    def load(
        cls, directory: Path, fixed_prefix_layers: int, dtype: torch.dtype = torch.float32, device: str = "cpu"
    ) -> "FixedPrefix":
        """Reads only these blocks of a checkpoint. Raises AdaMolmoError for an unreadable or unfitting checkpoint."""
        config = MolmoEConfig.load(Path(directory) / "config.json", fixed_prefix_layers)
        with torch.device("meta"):
            prefix = cls(config)
        wanted = tuple(f"transformer.blocks.{block}." for block in range(fixed_prefix_layers))
        tensors = stack_experts({name: t for name, t in read_tensors(Path(directory)) if name.startswith(wanted)})
        tensors = {name.removeprefix("transformer."): t.to(device, dtype) for name, t in tensors.items()}
        check_tensors({name: tuple(t.shape) for name, t in prefix.state_dict().items()}, tensors, directory)
        prefix.load_state_dict(tensors, assign=True)
        prefix.rotary = Rotary(config).to(device)
        return prefix.eval().requires_grad_(False)

    def forward(self, token: Tensor, entries: Tensor, lengths: Tensor) -> Tensor:
        """The token's state after the prefix, [rows, d_model].

        Args:
            token: one embedding per row, [rows, d_model].
            entries: the prompts' keys and values, [rows, slots, layers, 2, d_model]; at least one slot per row is free.
            lengths: tokens of each prompt, which is also the position of the new token, [rows].
        """
        slots = entries.shape[1]
        mask = (torch.arange(slots, device=token.device) <= lengths[:, None])[:, None, None, :]
        positions = Positions(*self.rotary(lengths[:, None]), mask, lengths[:, None], slots)
        x = token[:, None]
        for layer, block in enumerate(self.blocks):
            # Copies, because the block writes the token's own key and value into them.
            cache = tuple(self._heads(entries[:, :, layer, part]).contiguous() for part in (0, 1))
            x = block(x, self.config.top_k, positions, cache)
        return x[:, 0]

    def _heads(self, x: Tensor) -> Tensor:
        """[rows, slots, d_model] -> [rows, heads, slots, head_dim]."""
        return x.unflatten(-1, (self.config.num_heads, self.config.head_dim)).transpose(1, 2)


def prompt_entries(prefix: PrefixState, cache: KVCache, num_layers: int) -> list[Tensor]:
    """Keys and values that `run_prefix` left in the cache, of each row's real tokens: [tokens, layers, 2, d_model].

    Args:
        num_layers: blocks of the fixed prefix.
    """
    pairs = zip(cache.keys[:num_layers], cache.values[:num_layers], strict=True)
    layers = torch.stack([torch.stack(pair) for pair in pairs])  # [layers, 2, rows, heads, slots, head_dim]
    rows = layers.permute(2, 4, 0, 1, 3, 5).flatten(4)
    return [row[:length] for row, length in zip(rows, prefix.lengths.tolist(), strict=True)]


@dataclass(frozen=True)
class FeaturesInfo:
    """What a features file belongs to.

    Attributes:
        sample_ids, tiers: the prompts, all tiers of a sample one after the other.
    """

    dataset: str
    model_checksum: str
    fixed_prefix_layers: int
    sample_ids: tuple[str, ...]
    tiers: tuple[str, ...]


def save_features(path: Path, info: FeaturesInfo, entries: Sequence[Tensor]) -> None:
    """Writes one safetensors file, which appears complete or not at all.

    Args:
        entries: of every prompt in the order of `info`, [tokens, layers, 2, d_model] in the dtype to store.

    Raises:
        AdaMolmoError: an entry is not finite in that dtype.
    """
    for position, prompt in enumerate(entries):
        if not prompt.isfinite().all():
            sample, tier = divmod(position, len(info.tiers))
            raise AdaMolmoError(
                f"{path}: sample '{info.sample_ids[sample]}' at tier '{info.tiers[tier]}' has keys or values outside "
                f"the range of {prompt.dtype}; expected finite numbers."
            )
    offsets = torch.tensor([0, *accumulate(len(prompt) for prompt in entries)])
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    # One metadata key: safetensors writes several in random order, and equal input must give equal bytes.
    metadata = {"adamolmo": json.dumps(asdict(info), sort_keys=True)}
    save_file({"entries": torch.cat(list(entries)), "offsets": offsets}, temporary, metadata=metadata)
    os.replace(temporary, path)


@torch.inference_mode()
def make_features(
    engine: "Engine",
    samples: Sequence[Sample],
    dataset: str,
    style: str | None,
    batch_size: int,
    checksum: str,
    path: Path,
) -> None:
    """Runs vision and the fixed prefix on every sample at every tier, and writes the features file.

    A float32 model's entries are stored as float16, others in the model's own dtype.

    Args:
        checksum: of the model.
    """
    tiers, num_layers = tuple(engine.tiers), engine.model.config.fixed_prefix_layers
    dtype = torch.float16 if engine.dtype == torch.float32 else engine.dtype
    batches = [(t, rows) for t in tiers for rows in batches_by_length(engine, samples, style, t, batch_size)]
    entries = {}
    for tier, rows in progress(batches, f"features {dataset}", len(batches)):
        inputs = [engine.prepare(samples[row].open_image(), samples[row].question, style, tier) for row in rows]
        for row, prompt in zip(rows, prompt_entries(*run_shared(engine, inputs), num_layers), strict=True):
            entries[row, tier] = prompt.to("cpu", dtype)
    info = FeaturesInfo(dataset, checksum, num_layers, tuple(sample.sample_id for sample in samples), tiers)
    save_features(path, info, [entries[row, tier] for row in range(len(samples)) for tier in tiers])


class Features:
    """A features file, memory-mapped."""

    def __init__(self, path: Path):
        """Raises AdaMolmoError when the file is absent, truncated or something else."""
        try:
            with safe_open(path, framework="pt") as file:
                info = json.loads(file.metadata()["adamolmo"])
                self._entries, self._offsets = file.get_tensor("entries"), file.get_tensor("offsets").tolist()
            self.info = FeaturesInfo(**info | {key: tuple(info[key]) for key in ("sample_ids", "tiers")})
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise AdaMolmoError(f"{path}: cannot be read as a features file ({error!r}).") from error

    def prompt(self, sample: int, tier: int) -> Tensor:
        """Entries of one prompt, by the indices of sample and tier in `info`: [tokens, layers, 2, d_model]."""
        position = sample * len(self.info.tiers) + tier
        return self._entries[self._offsets[position] : self._offsets[position + 1]]


def stack_prompts(prompts: Sequence[Tensor], dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    """`entries` (with one free slot) and `lengths`, as `FixedPrefix` takes them."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    entries = torch.zeros(len(prompts), int(lengths.max()) + 1, *prompts[0].shape[1:], dtype=dtype)
    for row, prompt in zip(entries, prompts, strict=True):
        row[: len(prompt)] = prompt
    return entries.to(device), lengths.to(device)
