"""What is left of the training of a controller: the policy's weights, and the study that it is only valid for."""

from collections.abc import Iterator, Mapping
from math import inf
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, JsonValue, model_validator

from adamolmo.files.documents import Clock, Device, Document, Part
from adamolmo.files.schema import Tensors
from adamolmo.knobs import KnobGrid

Width = Annotated[int, Field(ge=1, le=1 << 16)]


class Fingerprint(Part):
    """What tells one study from another, to a policy: its rewards and its inputs were measured there."""

    grid: KnobGrid = Field(description="values of the knobs")
    model_checksum: str = Field(description="of the weights")
    fixed_prefix_layers: int = Field(description="blocks that the budget token passes before stage 2")
    clock: Clock = Field(description="how latencies were timed")
    device: Device = Field(description="the device, as in the profile's metadata; free with the modelled clock")

    def differences(self, present: Self) -> Iterator[tuple[str, Any, Any]]:
        """(field, value here, value there) of what keeps a policy with this fingerprint from serving `present`."""
        for field, own in self:
            other = getattr(present, field)
            if own != other and (field, present.clock) != ("device", "modelled"):
                yield field, own, other


class PolicyCard(Document):
    """What a policy is: how its networks are built, and what it was trained for."""

    path: ClassVar[str] = "results/controllers/{controller}/policy.json"

    controller: str = Field(description="its name")
    fingerprint: Fingerprint = Field(description="of the study that it was trained for")
    architecture: dict[str, JsonValue] = Field(
        description="what the networks are built from; of predictors: dim, num_configs, num_parts; of the "
        "library's other controllers: d_model, overview_dim, mobilevit"
    )
    scale_ms: float = Field(gt=0, description="budgets enter the networks as budget / scale_ms")
    training: dict[str, JsonValue] = Field(
        description="for the record: settings, seed, size and outcome of the training, overhead_ms by vision tier"
    )

    @model_validator(mode="after")
    def _check_overhead(self) -> Self:
        tiers, found = self.fingerprint.grid.tiers, self.training.get("overhead_ms", {})
        if not isinstance(found, dict) or found.keys() not in (set(), set(tiers)):
            raise ValueError(f"training.overhead_ms is {found!r}; expected milliseconds for each of {', '.join(tiers)}")
        for tier, ms in found.items():
            if not isinstance(ms, int | float) or not 0 <= ms < inf:
                raise ValueError(f"training.overhead_ms of {tier} is {ms!r}; expected milliseconds, from 0")
        return self

    @property
    def overheads_ms(self) -> list[float]:
        """What deciding adds to a request's latency, [configurations]; of a controller with parts, by the slowest."""
        return of_configs(self.training.get("overhead_ms", {}), self.fingerprint.grid)


def of_configs(by_tier: Mapping[str, float], grid: KnobGrid) -> list[float]:
    """What is known by vision tier, for every configuration; 0 for a tier of which nothing is."""
    return [by_tier.get(config.tier, 0.0) for config in grid.configs]


class MobileViT(Part):
    """The encoder of a policy that looks at the image through one, as `training.mobilevit` had it."""

    checkpoint: str | None = Field(min_length=1, max_length=4096)
    width: float = Field(gt=0, le=1)


class LearnedArchitecture(Part):
    """Widths of what a policy that is trained by rewards reads: of the embedded question, and of the overview crop."""

    d_model: Width
    overview_dim: Width
    mobilevit: MobileViT


class PredictorArchitecture(Part):
    """Features of a request; configurations; parts, which are folds, or the profiled questions of the neighbours."""

    dim: Width
    num_configs: int = Field(ge=1, le=10_000)
    num_parts: int = Field(ge=1, le=10_000_000)


class LearnedCard(PolicyCard):
    """Of a policy that is trained by rewards."""

    architecture: LearnedArchitecture


class PredictorCard(PolicyCard):
    """Of a controller that predicts which configurations are right."""

    architecture: PredictorArchitecture


WEIGHTS = Tensors(
    "results/controllers/{controller}/policy.safetensors",
    "The weights of a policy.",
    {"the parameters and buffers of its networks": "float32, shapes follow from the architecture in policy.json"},
)
