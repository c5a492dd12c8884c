"""Joules from counters that wrap around; a missing counter is missing, never 0."""

import sys
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from adamolmo.inference import energy
from adamolmo.inference.clock import MeasuredClock
from adamolmo.inference.controller import FixedController, Limit
from adamolmo.inference.energy import EnergyCounter, Register, find_energy_counter, nvml_registers, rapl_registers
from adamolmo.inference.engine import Engine
from adamolmo.knobs import KnobConfig


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(energy, "_LONGEST_UPDATE_S", 0.0)


def write_zone(powercap: Path, zone: str, name: str, energy_uj: int, largest_uj: int = 1_000_000) -> Path:
    folder = powercap / zone
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{largest_uj}\n")
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    return folder / "energy_uj"


def test_a_counter_that_wraps_around_between_two_readings_counts_on(tmp_path):
    register = write_zone(tmp_path, "intel-rapl:0", "package-0", 900_000)
    counter = EnergyCounter(rapl_registers(tmp_path))
    before = counter.read()
    register.write_text("950000\n")
    assert counter.joules_since(before) == pytest.approx(0.05)
    register.write_text("150000\n")
    assert counter.joules_since(before) == pytest.approx(0.25)


def test_packages_are_added_whatever_the_range_of_each(tmp_path):
    first = write_zone(tmp_path, "intel-rapl:0", "package-0", 10)
    second = write_zone(tmp_path, "intel-rapl:1", "package-1-die-0", 1_900_000, 2_000_000)
    counter = EnergyCounter(rapl_registers(tmp_path))
    before = counter.read()
    first.write_text("100010")
    second.write_text("400000")
    assert counter.joules_since(before) == pytest.approx(0.1 + 0.5)


def test_parts_of_a_package_and_what_contains_packages_are_not_counted_twice(tmp_path):
    write_zone(tmp_path, "intel-rapl:0", "package-0", 5)
    write_zone(tmp_path, "intel-rapl:0:0", "core", 3)
    write_zone(tmp_path, "intel-rapl:1", "psys", 9)
    write_zone(tmp_path, "intel-rapl-mmio:0", "package-0", 5)
    assert EnergyCounter(rapl_registers(tmp_path)).read() == (5,)


def test_packages_of_which_one_cannot_be_read_are_no_counter(tmp_path):
    write_zone(tmp_path, "intel-rapl:0", "package-0", 5)
    unreadable = write_zone(tmp_path, "intel-rapl:1", "package-1", 5)
    assert len(rapl_registers(tmp_path)) == 2
    unreadable.unlink()
    unreadable.mkdir()  # cannot be read by root either
    assert rapl_registers(tmp_path) == []


def test_a_machine_without_counters_or_with_one_that_stands_still_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    assert find_energy_counter("cpu") is None
    write_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    assert find_energy_counter("cpu") is None


def test_a_counter_that_moves_is_found(monkeypatch):
    monkeypatch.setattr(energy, "rapl_registers", lambda powercap: [Register(count().__next__, 10, 1.0)])
    assert find_energy_counter("cpu") is not None


class NVMLError(Exception):
    pass


def nvml(monkeypatch, total_energy_mj):
    """Stands in for the library, with one GPU."""
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda: SimpleNamespace(uuid="0b1c-2d"))
    handles = {"GPU-0b1c-2d": "handle"}
    library = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=handles.__getitem__,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: {"handle": total_energy_mj}[handle](),
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)


def test_the_gpu_in_use_counts_in_millijoules(monkeypatch):
    nvml(monkeypatch, count(7000, 500).__next__)
    counter = find_energy_counter("cuda")
    assert counter.joules_since(counter.read()) == pytest.approx(0.5)


def test_a_gpu_that_does_not_count_energy_has_no_counter(monkeypatch):
    def unsupported():
        raise NVMLError("Not Supported")

    nvml(monkeypatch, unsupported)
    assert nvml_registers() == []
    assert find_energy_counter("cuda") is None


class Recording:
    """A counter and a clock that note when they are asked; the counter rises by 2 J per reading."""

    name = "measured"

    def __init__(self):
        self.order, self.clock = [], MeasuredClock("cpu")

    def read(self):
        self.order.append("counter")
        return (2 * len(self.order),)

    def joules_since(self, reading):
        return self.read()[0] - reading[0]

    def start(self):
        self.order.append("start")
        timer = self.clock.start()

        def finish():
            self.order.append("end")
            return timer.finish()

        return SimpleNamespace(mark=timer.mark, finish=finish)


def test_the_counter_is_read_outside_of_what_is_timed(tiny_engine):
    both = Recording()
    engine = Engine(tiny_engine.backend, tiny_engine.ranking, both, 4, both)
    controller = FixedController(KnobConfig("low", 2, 5))
    response = engine.answer(Image.new("RGB", (30, 30)), "red ?", "tiny", controller, Limit())
    assert both.order == ["counter", "start", "end", "counter"]
    assert response.energy_j == 6


def test_without_a_counter_energy_is_missing(tiny_engine):
    controller = FixedController(KnobConfig("low", 2, 5))
    response = tiny_engine.answer(Image.new("RGB", (30, 30)), "red ?", "tiny", controller, Limit())
    assert response.energy_j is None
