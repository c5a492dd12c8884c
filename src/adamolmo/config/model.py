"""The model under study and its knobs: the sections `model` and `knobs`."""

from itertools import combinations
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from adamolmo.config.values import Ascending, Few, OwnName, Section, Text
from adamolmo.knobs import KnobGrid


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
    device: Literal["cpu", "cuda"] = Field(description="where the model runs; a job claims one core, or `gpus`")
    gpus: Few = Field(description="GPUs of one node that the model is spread over, where one does not hold it")

    @model_validator(mode="after")
    def _check(self) -> "ModelSettings":
        if self.gpus > 1 and self.device == "cpu":
            raise ValueError(f"gpus is {self.gpus} and device 'cpu'; expected 1, or device 'cuda'")
        return self


class TierSettings(Section):
    """One vision tier: a range of crops for a model that cuts images, else arguments of the model's image processor."""

    min_crops: Few | None = Field(
        None, description="fewest high-resolution crops of an image; the overview is one more"
    )
    max_crops: Few | None = Field(None, description="most high-resolution crops of an image")
    processor: dict[OwnName, JsonValue] | None = Field(
        None, description="arguments of the image processor, for the models of transformers", max_length=20
    )

    @model_validator(mode="after")
    def _check(self) -> "TierSettings":
        found = {name for name, value in self if value is not None}
        if found not in ({"min_crops", "max_crops"}, {"processor"}):
            raise ValueError(
                f"has {' and '.join(sorted(found)) or 'nothing'}; expected min_crops and max_crops, or processor"
            )
        if self.processor is None and self.min_crops > self.max_crops:
            raise ValueError(f"min_crops {self.min_crops} is above max_crops {self.max_crops}")
        return self

    @property
    def arguments(self) -> dict[str, JsonValue]:
        """What the model is given."""
        if self.processor is not None:
            return self.processor
        return {"min_crops": self.min_crops, "max_crops": self.max_crops}


def _cheapest_first(tiers: dict[str, TierSettings]) -> dict[str, TierSettings]:
    """By crops, since files that override each other leave the keys of a mapping in no particular order; a processor's
    arguments have no order of their own and stay as they are listed."""
    for (name, tier), (other, same) in combinations(tiers.items(), 2):
        if tier == same:
            raise ValueError(f"tiers '{name}' and '{other}' are alike; expected different ones")
    if len({tier.processor is None for tier in tiers.values()}) == 2:
        raise ValueError("some tiers are ranges of crops and others arguments of a processor; expected one kind")
    if any(tier.processor is not None for tier in tiers.values()):
        return tiers
    return dict(sorted(tiers.items(), key=lambda item: (item[1].max_crops, item[1].min_crops)))


class KnobSettings(Section):
    """The values that each of the three knobs can take; the grid is their product."""

    tiers: Annotated[dict[OwnName, TierSettings], AfterValidator(_cheapest_first)] = Field(
        description="vision tiers by name, cheapest first; ranges of crops are put in order",
        min_length=1,
        max_length=100,
    )
    top_k: Ascending = Field(description="experts per token in the blocks after the fixed prefix, ascending")
    num_active_blocks: Ascending = Field(
        description="transformer blocks that run, the fixed prefix included, ascending"
    )

    @property
    def tier_arguments(self) -> dict[str, dict[str, JsonValue]]:
        """What the model is given for each tier, cheapest first."""
        return {name: tier.arguments for name, tier in self.tiers.items()}

    @property
    def grid(self) -> KnobGrid:
        return KnobGrid(tuple(self.tiers), tuple(self.top_k), tuple(self.num_active_blocks))
