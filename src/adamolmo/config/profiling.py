"""How the profile is made and chosen from: the sections `importance`, `core_exp`, `lookup` and `latency`."""

from typing import Literal

from pydantic import Field

from adamolmo.config.values import Count, CountOrAll, Few, Name, Positive, Section, Share, Weight

# Those that `importance/merge.py` ranks by, and a search over sets of blocks.
SelectionRule = Literal[
    "accuracy_drop", "activation_norm", "gradient", "attention_entropy", "random", "prefix", "beam_search"
]


class ImportanceSettings(Section):
    """How the importance of the blocks is scored."""

    tier: Name = Field(description="vision tier at which blocks are skipped one at a time")
    selection: SelectionRule = Field(
        description="rule by which blocks are removed: the least score first; 'accuracy_drop' when the block alone is "
        "skipped, 'activation_norm', 'gradient', 'attention_entropy', 'random', 'prefix' (the last blocks go), or "
        "'beam_search' over sets of blocks, which need not be nested"
    )
    beam_width: Few = Field(description="sets of each size that a beam search goes on from")


class CoreExpSettings(Section):
    """The profiling grid: every configuration on every sample of the profile split."""

    shards: Few = Field(description="jobs per dataset and tier; each profiles its share of the samples")
    batch_size: Few = Field(description="samples per batch at most, of the passes that are not timed")
    memory_mb: Count = Field(
        description="memory that a batch of these passes may take beyond the weights, in MB by estimate"
    )
    max_failed_fraction: Share = Field(description="share of unreadable samples above which the study stops")

    @property
    def memory_bytes(self) -> float:
        return self.memory_mb * 1e6


class LookupSettings(Section):
    """How a lookup table is made and chosen from."""

    tolerance: Weight = Field(description="a configuration is a candidate up to budget * (1 + tolerance)")
    pooled: bool = Field(description="true: one table over all datasets; false: one per dataset")


class LatencySettings(Section):
    """How latency is obtained."""

    clock: Literal["measured", "modelled"] = Field(
        description="'measured' times the device; 'modelled' computes latency from operations and bytes, reproducibly"
    )
    samples: CountOrAll = Field(
        description="samples per dataset whose latency is measured in core_exp; the others' is estimated from them"
    )
    repeats: Few = Field(description="timed runs per sample and configuration in core_exp; the median is kept")
    max_warmup: Few = Field(description="most warm-up runs before timing starts")
    drift_limit_pct: Positive = Field(description="drift of the speed probe above which rows are marked")
