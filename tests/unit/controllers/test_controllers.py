"""Controllers without training: static configurations and lookup tables, found by name."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from adamolmo.controllers.base import ControllerContext, Decision, KnobGrid, Limit, RequestSize, Stage1Inputs, Study
from adamolmo.controllers.registry import CONTROLLERS, find_controller, load_controller
from adamolmo.controllers.table import Entry, LookupTable, save_tables
from adamolmo.core_exp import expected_latency
from adamolmo.errors import AdaMolmoError
from adamolmo.knobs import KnobConfig

GRID = KnobGrid(("low", "high"), (4, 8), (12, 16))
STUDY = Study(GRID, "checksum", 3, "measured", {"name": "a core"})
# Latency by tier, top_k and blocks; accuracy grows with it, so that the dearest feasible configuration is the best.
LATENCY_MS = dict(zip(GRID.configs, [10.0, 14.0, 12.0, 16.0, 20.0, 28.0, 24.0, 32.0], strict=True))


def table(configs=GRID.configs, shift_ms=0.0) -> LookupTable:
    return LookupTable(
        [Entry(config, LATENCY_MS[config] / 40, LATENCY_MS[config] + shift_ms, 9) for config in configs], {}
    )


@pytest.fixture
def context(tmp_path) -> ControllerContext:
    (tmp_path / "lookup").mkdir()
    for number, aggregation in enumerate(("mean", "median", "max_accuracy")):
        tables = {"okvqa": table(shift_ms=number), "pooled": table(shift_ms=10)}
        save_tables(tables, tmp_path / "lookup" / f"{aggregation}.json")
    latency_ms = list(LATENCY_MS.values())  # of a request of 3 crops and 40 tokens; half of it is for the crops
    per_crop, zero = [ms / 6 for ms in latency_ms], [0.0] * 8
    of_size = {"fixed_ms": [ms / 2 for ms in latency_ms], "ms_per_crop": per_crop, "ms_per_token": zero}
    slower = of_size | {"fixed_ms": [ms / 2 + 10 for ms in latency_ms]}
    expected_latency.save(
        {"okvqa": of_size | {"error_pct": 0.0}, "pooled": slower | {"error_pct": 0.0}},
        GRID.configs,
        "measured",
        {},
        tmp_path / "lookup" / "expected_latency.json",
    )
    return ControllerContext(STUDY, tmp_path, "okvqa", 0.05, False, "cpu", "float32")


def choice(name: str, budget_ms: float, context: ControllerContext) -> str:
    controller = load_controller(name, context)
    assert controller.name == name
    assert controller.budget_token(budget_ms) is None
    assert not controller.reads(budget_ms)
    decision = controller.predict_stage1(Stage1Inputs(Limit(budget_ms)))
    return str(KnobConfig(decision.tier, *controller.predict_stage2(budget_ms, decision, None)))


@pytest.mark.parametrize(
    ("name", "budget_ms", "expected"),
    [
        ("static-full", 1, "high-k8-b16"),
        ("static-low-k8-b12", 99, "low-k8-b12"),
        ("lookup-mean", 24, "high-k8-b12"),
        ("lookup-mean", 27, "high-k4-b16"),  # 28 ms is within the tolerance of 5 %
        ("lookup-mean", 1, "low-k4-b12"),
        ("lookup-median", 27, "high-k8-b12"),  # this table is 1 ms slower
        ("lookup-max_accuracy", 22, "high-k4-b12"),
        ("tier-only", 31, "high-k8-b16"),
        ("tier-only", 30, "low-k8-b16"),
        ("topk-only", 30, "high-k4-b16"),
        ("blocks-only", 30, "high-k8-b12"),
        ("blocks-only", 5, "high-k8-b12"),  # no block count meets it
    ],
)
def test_choice(name, budget_ms, expected, context):
    assert choice(name, budget_ms, context) == expected


def test_pooled_table(context):
    assert choice("lookup-mean", 30, replace(context, lookup_pooled=True)) == "high-k4-b12"


@pytest.mark.parametrize(
    ("crops", "limit", "expected"),
    [
        (3, Limit(24), "high-k8-b12"),
        (3, Limit(23.9), "high-k4-b12"),  # no tolerance
        (2, Limit(24), "high-k4-b16"),  # 28 ms at 3 crops, 23.3 at 2
        (5, Limit(24), "low-k8-b16"),
        (5, Limit(5), "low-k4-b12"),
        (3, Limit(price_per_ms=0.02), "high-k8-b16"),  # a millisecond brings 0.025
        (3, Limit(price_per_ms=0.03), "low-k4-b12"),
        (3, Limit(24, price_per_ms=0.02), "high-k8-b12"),
    ],
)
def test_a_sized_table_knows_what_this_request_will_take(crops, limit, expected, context):
    controller = load_controller("lookup-mean-sized", context)
    decision = controller.predict_stage1(Stage1Inputs(limit, size=RequestSize((crops, crops), (40, 40))))
    assert decision == Decision.of(KnobConfig.parse(expected))


def test_a_pooled_sized_table_expects_the_pooled_latency(context):
    controller = load_controller("lookup-mean-sized", replace(context, lookup_pooled=True))
    decision = controller.predict_stage1(Stage1Inputs(Limit(34), size=RequestSize((3, 3), (40, 40))))
    assert decision == Decision.of(KnobConfig.parse("high-k8-b12"))


def test_every_table_controller_reads_the_files_it_names(context):
    tables = [name for name, entry in CONTROLLERS.items() if entry.inputs and not entry.trained]
    assert len(tables) == 7
    for name, file in ((table, file) for table in tables for file in find_controller(table).inputs):
        saved = (context.results / file).read_text()
        (context.results / file).unlink()
        with pytest.raises(AdaMolmoError, match=Path(file).name):
            load_controller(name, context)
        (context.results / file).write_text(saved)
        load_controller(name, context)


def test_table_without_the_dataset(context):
    with pytest.raises(AdaMolmoError, match=r"mean.json: has no table 'text_vqa'; it has okvqa, pooled"):
        load_controller("lookup-mean", replace(context, dataset="text_vqa"))


@pytest.mark.parametrize("configs", [GRID.configs[1:], [*GRID.configs, KnobConfig("high", 6, 16)]])
def test_table_of_another_grid(configs, context):
    latency_ms = LATENCY_MS | {KnobConfig("high", 6, 16): 30.0}
    other = LookupTable([Entry(config, 0.5, latency_ms[config], 9) for config in configs], {})
    save_tables({"okvqa": other}, context.results / "lookup" / "mean.json")
    with pytest.raises(AdaMolmoError, match=r"mean.json: table 'okvqa' was made for another grid.*top_k 4/8"):
        load_controller("tier-only", context)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lookup-men", "controller 'lookup-men' is unknown; did you mean 'lookup-mean'?"),
        ("best", "controller 'best' is unknown; expected one of static-full, lookup-mean"),
        ("oracle", "'oracle' chooses in hindsight, so it cannot answer requests"),
        ("static-fast", "'fast' is not a knob configuration"),
        ("static-high-k5-b16", "controller 'static-high-k5-b16': high-k5-b16 is not in the study's grid"),
        ("static-huge-k8-b16", "controller 'static-huge-k8-b16': huge-k8-b16 is not in the study's grid"),
    ],
)
def test_bad_name(name, message, context):
    with pytest.raises(AdaMolmoError) as error:
        load_controller(name, context)
    assert message in str(error.value)


def test_only_policies_are_trained():
    trained = {name for name, entry in CONTROLLERS.items() if entry.trained}
    kinds = ("two-stage", "single-stage", "hybrid", "predict")
    assert trained == {name for name in CONTROLLERS if name.startswith(kinds)}
    assert {part for entry in CONTROLLERS.values() for part in entry.parts} < trained
    assert find_controller("two-stage-budget").inputs == (
        "controllers/two-stage-budget/policy.safetensors",
        "controllers/two-stage-budget/policy.json",
    )
    assert not find_controller("static-low-k4-b12").inputs


def test_a_table_chooses_in_microseconds(context):
    controller = load_controller("lookup-mean", context)
    start = time.perf_counter()
    for budget_ms in range(1, 1001):
        controller.predict_stage1(Stage1Inputs(Limit(budget_ms)))
    assert (time.perf_counter() - start) / 1000 < 100e-6  # about 5 on an idle core


def test_tables_and_static_configurations_need_no_torch():
    code = (
        "import sys, adamolmo.controllers.lookup, adamolmo.controllers.static; "
        "from adamolmo.controllers.registry import find_controller; find_controller('two-stage-budget'); "
        "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
