"""Controllers without training: static configurations and lookup tables, found by name."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from adamolmo.controllers.base import ControllerContext
from adamolmo.controllers.fingerprint import Fingerprint
from adamolmo.controllers.registry import CONTROLLERS, find_controller, load_controller
from adamolmo.controllers.table import Entry, LookupTable, save_tables
from adamolmo.errors import AdaMolmoError
from adamolmo.inference.controller import Stage1Inputs
from adamolmo.knobs import KnobConfig, KnobGrid

GRID = KnobGrid(("low", "high"), (4, 8), (12, 16))
FINGERPRINT = Fingerprint(GRID, "checksum", 3, "measured", {"name": "a core"})
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
    return ControllerContext(FINGERPRINT, tmp_path, "okvqa", 0.05, False, "cpu", "float32")


def choice(name: str, budget_ms: float, context: ControllerContext) -> str:
    controller = load_controller(name, context)
    assert controller.name == name
    assert controller.budget_token(budget_ms) is None
    assert not controller.reads(budget_ms)
    decision = controller.predict_stage1(Stage1Inputs(budget_ms))
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


def test_every_table_controller_reads_the_files_it_names(context):
    tables = [name for name, entry in CONTROLLERS.items() if any("lookup/" in file for file in entry.inputs)]
    assert len(tables) == 6
    for name in tables:
        (file,) = find_controller(name).inputs
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
    assert trained == {name for name in CONTROLLERS if name.startswith(("two-stage", "single-stage", "hybrid"))}
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
        controller.predict_stage1(Stage1Inputs(budget_ms))
    assert (time.perf_counter() - start) / 1000 < 100e-6  # about 5 on an idle core


def test_tables_and_static_configurations_need_no_torch():
    code = (
        "import sys, adamolmo.controllers.lookup, adamolmo.controllers.static; "
        "from adamolmo.controllers.registry import find_controller; find_controller('two-stage-budget'); "
        "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
