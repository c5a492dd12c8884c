"""Joules of a request, by the device's own energy counter.

    request -> read the counter -> start of the timer ... end of the timer -> read it again -> joules

On a GPU the counter is NVML's total energy (Volta and newer), on a CPU those of RAPL's packages (Khan et al., 2018),
where the kernel has them and lets this user read them. Everywhere else there is no counter (None): energy is then
missing, and never 0. What it counts, and how finely: docs/measurement.md.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

POWERCAP = Path("/sys/class/powercap")
_LONGEST_UPDATE_S = 1.0  # a counter that has not moved by then is none: some virtual machines have such


@dataclass(frozen=True)
class Register:
    """A number that rises by one with every `joules` used, and begins again from 0 at `size`."""

    read: Callable[[], int]
    size: int
    joules: float

    def joules_between(self, then: int, now: int) -> float:
        """Of readings less than one turn apart: a minute at least, even of a large processor."""
        return (now - then) % self.size * self.joules


class EnergyCounter:
    """What a device has used, over all of its registers."""

    def __init__(self, registers: Sequence[Register]):
        self._registers = registers

    def read(self) -> tuple[int, ...]:
        """A reading to count from."""
        return tuple(register.read() for register in self._registers)

    def joules_since(self, reading: tuple[int, ...]) -> float:
        """0 where that was shorter ago than the device needs to bring its counter up to date."""
        of_registers = zip(self._registers, reading, self.read(), strict=True)
        return sum(register.joules_between(then, now) for register, then, now in of_registers)


def find_energy_counter(device: str) -> EnergyCounter | None:
    """The counter of "cpu" or "cuda", None where there is none that moves. Waits for that, a second at most."""
    registers = nvml_registers() if device == "cuda" else rapl_registers(POWERCAP)
    return EnergyCounter(registers) if registers and all(map(_moves, registers)) else None


def rapl_registers(powercap: Path) -> list[Register]:
    """One for each processor package; none if there is no package, or one that this user must not read.

    Zones within a package (cores, memory) are left out, and the platform's, of which the packages are a part.
    """
    try:
        zones = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if _is_package(zone)]
        registers = [_rapl_register(zone) for zone in zones]
        for register in registers:
            register.read()
    except OSError:
        return []
    return registers


def _is_package(zone: Path) -> bool:
    return (zone / "name").read_text().startswith("package")


def _rapl_register(zone: Path) -> Register:
    counter = zone / "energy_uj"
    return Register(lambda: int(counter.read_text()), int((zone / "max_energy_range_uj").read_text()), 1e-6)


def nvml_registers() -> list[Register]:
    """That of the GPU in use; none if it does not count energy (older than Volta, a part of a GPU)."""
    import pynvml  # only where there is a GPU

    try:
        pynvml.nvmlInit()
        gpu = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties().uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
    except pynvml.NVMLError:
        return []
    return [Register(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu), 2**64, 1e-3)]


def _moves(register: Register) -> bool:
    first, last_try = register.read(), time.monotonic() + _LONGEST_UPDATE_S
    while register.read() == first:
        if time.monotonic() > last_try:
            return False
        time.sleep(0.001)
    return True
