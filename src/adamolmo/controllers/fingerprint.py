"""What a trained policy is only valid for, because its rewards and its inputs were measured there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from adamolmo.knobs import KnobGrid


@dataclass(frozen=True)
class Fingerprint:
    """What tells one study from another, to a policy.

    Attributes:
        model_checksum: of the weights.
        fixed_prefix_layers: blocks that the budget token passes before stage 2.
        clock: "measured" or "modelled".
        device: description of the device, as in the profile's metadata; free with the modelled clock.
    """

    grid: KnobGrid
    model_checksum: str
    fixed_prefix_layers: int
    clock: str
    device: dict

    @classmethod
    def from_dict(cls, stored: dict) -> Fingerprint:
        """The inverse of `dataclasses.asdict`, also after it was JSON."""
        grid = KnobGrid(**{knob: tuple(values) for knob, values in stored["grid"].items()})
        return cls(**stored | {"grid": grid})

    def differences(self, present: Fingerprint) -> Iterator[tuple[str, Any, Any]]:
        """(field, value here, value there) of what keeps a policy with this fingerprint from serving `present`."""
        for field in fields(self):
            if field.name == "device" and present.clock == "modelled":
                continue
            own, other = getattr(self, field.name), getattr(present, field.name)
            if own != other:
                yield field.name, own, other
