import gc
import time

import pytest

from adamolmo.errors import AdaMolmoError
from adamolmo.inference.clock import MeasuredClock, ModelledClock, make_clock, warm_up
from adamolmo.model.cost import Cost


def test_measured_stages_sum_to_the_total_and_marks_add_up():
    timer = MeasuredClock("cpu").start()
    start = time.perf_counter()
    for stage, seconds in [("controller", 0.01), ("vision", 0.03), ("controller", 0.02), ("decode", 0.01)]:
        time.sleep(seconds)
        timer.mark(stage, Cost())
    elapsed_ms = (time.perf_counter() - start) * 1e3
    stages = timer.finish()
    assert stages.total_ms == pytest.approx(elapsed_ms, rel=0.01)
    assert stages.controller_ms >= 30
    assert stages.vision_ms >= 30
    assert stages.prefill_ms == 0
    assert stages.total_ms == pytest.approx(stages.vision_ms + stages.controller_ms + stages.decode_ms)


def test_preprocessing_is_not_part_of_the_total():
    timer = ModelledClock().start()
    timer.mark("preprocess", Cost(launches=1000))
    timer.mark("vision", Cost(launches=500))
    stages = timer.finish()
    assert stages.preprocess_ms == pytest.approx(2 * stages.vision_ms)
    assert stages.total_ms == stages.vision_ms > 0


def test_modelled_time_is_a_roofline_with_launches():
    def ms(cost):
        timer = ModelledClock().start()
        timer.mark("vision", cost)
        return timer.finish().vision_ms

    compute, memory = Cost(flops=80e6, bytes=1e6), Cost(flops=1e6, bytes=30e6)
    assert ms(compute) == pytest.approx(2.0)
    assert ms(memory) == pytest.approx(3.0)
    assert ms(compute + Cost(launches=100)) == pytest.approx(2.2)


def test_unknown_clock_is_refused():
    assert make_clock("measured", "cpu").name == "measured"
    assert make_clock("modelled", "cpu").name == "modelled"
    with pytest.raises(AdaMolmoError, match="latency.clock is 'wall'"):
        make_clock("wall", "cpu")


@pytest.fixture
def unfrozen():
    yield
    gc.unfreeze()


def test_warm_up_ends_when_latency_stands_still(unfrozen):
    falling = iter([100.0 - run for run in range(20)] + [80.0] * 100)
    assert warm_up(lambda: next(falling), max_runs=100) in range(22, 30)
    restless = iter(range(1, 1000))
    assert warm_up(lambda: float(next(restless)) ** 2, max_runs=40) == 40


def test_warm_up_exempts_what_is_loaded_from_garbage_collection(unfrozen):
    assert gc.get_freeze_count() == 0
    warm_up(lambda: 1.0, max_runs=1)
    assert gc.get_freeze_count() > 10_000
