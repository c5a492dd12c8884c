"""The model under study and its knobs: the sections `model` and `knobs`."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from adamolmo.config.values import Ascending, Few, OwnName, Section, Text
from adamolmo.knobs import CropRange, KnobGrid


class ModelSettings(Section):
    """The model under study."""

    checkpoint: Text = Field(
        description="a directory with config.json, tokenizer.json and safetensors weights (released or native olmo "
        "format), or a repository of the Hugging Face Hub with these files, owner/name"
    )
    fixed_prefix_layers: Few = Field(
        description="blocks that always run, with the model's own top_k; the two-stage controllers decide after them"
    )
    dtype: Literal["float32", "bfloat16"] = Field(description="number format of the weights and the computation")
    device: Literal["cpu", "cuda"] = Field(description="where the model runs; a job claims one core or one GPU")


class TierSettings(Section):
    """One vision tier: a range of high-resolution crops; the overview crop comes on top."""

    min_crops: Few = Field(description="fewest high-resolution crops of an image")
    max_crops: Few = Field(description="most high-resolution crops of an image")

    @model_validator(mode="after")
    def _check(self) -> "TierSettings":
        if self.min_crops > self.max_crops:
            raise ValueError(f"min_crops {self.min_crops} is above max_crops {self.max_crops}")
        return self


def _cheapest_first(tiers: dict[str, TierSettings]) -> dict[str, TierSettings]:
    """Files that override each other leave the keys of a mapping in no particular order."""
    ordered = sorted(tiers.items(), key=lambda item: (item[1].max_crops, item[1].min_crops))
    for (name, tier), (other, same) in pairwise(ordered):
        if tier == same:
            raise ValueError(f"tiers '{name}' and '{other}' have the same crops; expected different ones")
    return dict(ordered)


class KnobSettings(Section):
    """The values that each of the three knobs can take; the grid is their product."""

    tiers: Annotated[dict[OwnName, TierSettings], AfterValidator(_cheapest_first)] = Field(
        description="vision tiers by name; they are ordered by their crops", min_length=1, max_length=100
    )
    top_k: Ascending = Field(description="experts per token in the blocks after the fixed prefix, ascending")
    num_active_blocks: Ascending = Field(
        description="transformer blocks that run, the fixed prefix included, ascending"
    )

    @property
    def crop_ranges(self) -> dict[str, CropRange]:
        return {name: CropRange(tier.min_crops, tier.max_crops) for name, tier in self.tiers.items()}

    @property
    def grid(self) -> KnobGrid:
        return KnobGrid(tuple(self.tiers), tuple(self.top_k), tuple(self.num_active_blocks))
