"""The three knobs of the adaptive model, as plain values that travel through files, columns and function calls."""

import re
from dataclasses import dataclass
from itertools import product

from adamolmo.errors import AdaMolmoError, quoted

_NAME = re.compile(r"(?P<tier>[a-z][a-z0-9_]*)-k(?P<top_k>[1-9][0-9]{0,5})-b(?P<blocks>[1-9][0-9]{0,5})")


@dataclass(frozen=True)
class DecoderKnobs:
    """What the decoder's forward pass takes: experts per token and the transformer blocks that run.

    Attributes:
        top_k: experts per token in the blocks after the fixed prefix.
        blocks: ascending indices of all blocks that run; the others are the identity and touch no cache.
    """

    top_k: int
    blocks: tuple[int, ...]

    def behind(self, fixed_prefix_layers: int) -> tuple[int, ...]:
        """Those of the blocks that are not of the fixed prefix."""
        return tuple(block for block in self.blocks if block >= fixed_prefix_layers)


@dataclass(frozen=True, order=True)
class KnobConfig:
    """One setting of all three knobs, written `high-k8-b16` in files, columns and wildcards."""

    tier: str
    top_k: int
    num_active_blocks: int

    def __str__(self) -> str:
        return f"{self.tier}-k{self.top_k}-b{self.num_active_blocks}"

    @classmethod
    def parse(cls, name: str) -> "KnobConfig":
        """The inverse of `str`. Raises AdaMolmoError when `name` is not of that form."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise AdaMolmoError(f"{quoted(name)} is not a knob configuration; expected the form 'high-k8-b16'.")
        return cls(match["tier"], int(match["top_k"]), int(match["blocks"]))


@dataclass(frozen=True)
class KnobGrid:
    """The values of the three knobs, each from cheap to dear; the grid is their product."""

    tiers: tuple[str, ...]
    top_k: tuple[int, ...]
    num_active_blocks: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.tiers), len(self.top_k), len(self.num_active_blocks)

    @property
    def configs(self) -> list[KnobConfig]:
        """In row-major order of `shape`: the cheapest first, the number of blocks changing fastest."""
        return [KnobConfig(*values) for values in product(self.tiers, self.top_k, self.num_active_blocks)]

    @property
    def full(self) -> KnobConfig:
        """The dearest configuration: all knobs at their highest value."""
        return KnobConfig(self.tiers[-1], self.top_k[-1], self.num_active_blocks[-1])

    def __str__(self) -> str:
        knobs = {"tiers": self.tiers, "top_k": self.top_k, "num_active_blocks": self.num_active_blocks}
        return ", ".join(f"{name} {'/'.join(map(str, values))}" for name, values in knobs.items())


@dataclass(frozen=True)
class BlockRanking:
    """Which blocks stay active at each count: the fixed prefix always, then the most important ones.

    Attributes:
        num_blocks: blocks of the model.
        removal_order: the removable blocks, least important first.
        removed_sets: sets that replace the first 1, 2, ... of `removal_order`, where they were searched for.
    """

    num_blocks: int
    removal_order: tuple[int, ...]
    removed_sets: tuple[tuple[int, ...], ...] = ()

    @property
    def counts(self) -> range:
        """The numbers of active blocks that it has an answer for."""
        return range(self.num_blocks - len(self.removed_sets or self.removal_order), self.num_blocks + 1)

    def active(self, num_active_blocks: int) -> tuple[int, ...]:
        """Ascending indices of the `num_active_blocks` blocks that run."""
        if num_active_blocks not in self.counts:
            raise AdaMolmoError(
                f"num_active_blocks is {num_active_blocks}; this model takes {self.counts[0]} to {self.num_blocks}."
            )
        num_removed = self.num_blocks - num_active_blocks
        searched = ((), *self.removed_sets) if self.removed_sets else None
        removed = searched[num_removed] if searched else self.removal_order[:num_removed]
        return tuple(block for block in range(self.num_blocks) if block not in removed)

    def decoder_knobs(self, config: KnobConfig) -> DecoderKnobs:
        return DecoderKnobs(config.top_k, self.active(config.num_active_blocks))
