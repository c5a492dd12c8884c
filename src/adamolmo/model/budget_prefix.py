"""The fixed prefix alone, for training: budget tokens behind stored prompts, with gradients to the tokens."""

from pathlib import Path

import torch
from torch import Tensor, nn

from adamolmo.backend.interface import PromptMemory
from adamolmo.model.checkpoint import Checkpoint
from adamolmo.model.config import MolmoEConfig
from adamolmo.model.decoder import DecoderBlock, KVCache, Positions, Rotary


class FixedPrefix(nn.Module):
    """`backend.interface.BudgetPrefix` of MolmoE: its first blocks."""

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
        checkpoint = Checkpoint(Path(directory), fixed_prefix_layers)
        with torch.device("meta"):
            prefix = cls(checkpoint.config)
        tensors = {name: checkpoint.read(f"transformer.{name}", dtype).to(device) for name in prefix.state_dict()}
        prefix.load_state_dict(tensors, assign=True)
        prefix.rotary.to(device)
        return prefix.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self.rotary.frequencies.device

    @property
    def dtype(self) -> torch.dtype:
        return self.blocks[0].attn.att_proj.weight.dtype

    def forward(self, tokens: Tensor, entries: Tensor, lengths: Tensor, positions: Tensor) -> Tensor:
        """See `backend.interface.BudgetPrefix`; kv_width is d_model."""
        rows, count = tokens.shape[:2]
        slots = entries.shape[3]
        own = (slots + torch.arange(count, device=tokens.device)).expand(rows, -1)  # [rows, tokens]
        in_prompt = torch.arange(slots, device=tokens.device) < lengths[:, None]  # [rows, slots]
        # [rows, tokens, slots + tokens]
        mask = torch.cat([in_prompt[:, None].expand(-1, count, -1), own[:, :, None] == own[:, None, :]], dim=-1)
        cos_sin = self.rotary(positions[:, None].expand(-1, count))  # each [rows, 1, tokens, head_dim]
        behind = Positions(*cos_sin, mask[:, None], own, slots + count)
        for block, layer in zip(self.blocks, entries, strict=True):  # [2, rows, slots, d_model]
            # Copies with room for the tokens' own keys and values, which the block writes into them.
            cache = tuple(self._heads(nn.functional.pad(part, (0, 0, 0, count))) for part in layer)
            tokens = block(tokens, self.config.top_k, behind, cache)
        return tokens

    def _heads(self, x: Tensor) -> Tensor:
        """[rows, slots, d_model] -> [rows, heads, slots, head_dim]."""
        return x.unflatten(-1, (self.config.num_heads, self.config.head_dim)).transpose(1, 2)


def prompt_memories(cache: KVCache, lengths: Tensor, num_layers: int) -> list[PromptMemory]:
    """What `run_prefix` left in the cache, of each row's real tokens.

    Args:
        lengths: real tokens of each row, [rows].
        num_layers: blocks of the fixed prefix.
    """
    pairs = zip(cache.keys[:num_layers], cache.values[:num_layers], strict=True)
    layers = torch.stack([torch.stack(pair) for pair in pairs])  # [layers, 2, rows, heads, slots, head_dim]
    rows = layers.permute(2, 0, 1, 4, 3, 5).flatten(4)  # [rows, layers, 2, slots, d_model]
    return [PromptMemory(row[:, :, :length], length) for row, length in zip(rows, lengths.tolist(), strict=True)]
