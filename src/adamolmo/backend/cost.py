"""What a stage does on a device, whatever model it belongs to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Floating point operations, memory traffic in bytes and kernel launches; costs add up."""

    flops: float = 0.0
    bytes: float = 0.0
    launches: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.flops + other.flops, self.bytes + other.bytes, self.launches + other.launches)

    def __mul__(self, count: int) -> "Cost":
        return Cost(self.flops * count, self.bytes * count, self.launches * count)
