"""Controllers without training: static configurations and lookup tables, found by name."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_documents import ORIGIN
from policies import load_named

from adamolmo.config.controllers import OwnControllerSettings
from adamolmo.controllers.base import ControllerContext
from adamolmo.controllers.modules import controller_module, load_controller
from adamolmo.controllers.registry import CONTROLLERS, find_controller
from adamolmo.controllers.table import EXPECTED_LATENCY, Entry, LookupTable, save_table, table_path
from adamolmo.core_exp import expected_latency
from adamolmo.core_exp.expected_latency import ExpectedLatency
from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import write_json
from adamolmo.files.policy import Fingerprint
from adamolmo.inference.controller import Decision, Limit, RequestSize, Stage1Inputs
from adamolmo.knobs import KnobConfig, KnobGrid

GRID = KnobGrid(("low", "high"), (4, 8), (12, 16))
FINGERPRINT = Fingerprint(
    grid=GRID, model_checksum="checksum", fixed_prefix_layers=3, clock="measured", device={"name": "a core"}
)
# Latency by tier, top_k and blocks; accuracy grows with it, so that the dearest feasible configuration is the best.
LATENCY_MS = dict(zip(GRID.configs, [10.0, 14.0, 12.0, 16.0, 20.0, 28.0, 24.0, 32.0], strict=True))


def table(configs=GRID.configs, shift_ms=0.0) -> LookupTable:
    return LookupTable([Entry(config, LATENCY_MS[config] / 40, LATENCY_MS[config] + shift_ms, 9) for config in configs])


@pytest.fixture
def context(tmp_path) -> ControllerContext:
    (tmp_path / "lookup").mkdir()
    for number, aggregation in enumerate(("mean", "median", "max_accuracy")):
        (tmp_path / "lookup" / aggregation).mkdir()
        save_table(table(shift_ms=number), ORIGIN, tmp_path / table_path(aggregation, "okvqa"))
        save_table(table(shift_ms=10), ORIGIN, tmp_path / table_path(aggregation, None))
    latency_ms = np.array(list(LATENCY_MS.values()))  # of a request of 3 crops and 40 tokens; half is for the crops
    (tmp_path / "lookup" / EXPECTED_LATENCY).mkdir()
    for dataset, shift_ms in (("okvqa", 0), (None, 10)):
        expected = ExpectedLatency(np.repeat([0, 1], 4), latency_ms / 2 + shift_ms, latency_ms / 6, np.zeros(8))
        document = expected_latency.as_document(expected, GRID, 0.0, {"clock": "measured", "device": {}})
        write_json(document, tmp_path / table_path(EXPECTED_LATENCY, dataset))
    return ControllerContext(FINGERPRINT, tmp_path, "okvqa", 0.05, False, "cpu", "float32")


def choice(name: str, budget_ms: float, context: ControllerContext) -> str:
    controller = load_named(name, context)
    assert controller.name == name
    assert controller.budget_token(budget_ms) is None
    assert not controller.reads(Limit(budget_ms))
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
    controller = load_named("lookup-mean-sized", context)
    decision = controller.predict_stage1(Stage1Inputs(limit, size=RequestSize((crops, crops), (40, 40))))
    assert decision == Decision.of(KnobConfig.parse(expected))


def test_a_pooled_sized_table_expects_the_pooled_latency(context):
    controller = load_named("lookup-mean-sized", replace(context, lookup_pooled=True))
    decision = controller.predict_stage1(Stage1Inputs(Limit(34), size=RequestSize((3, 3), (40, 40))))
    assert decision == Decision.of(KnobConfig.parse("high-k8-b12"))


def test_every_table_controller_reads_the_tables_it_names(context):
    tables = [name for name, entry in CONTROLLERS.items() if entry.tables and not entry.trained]
    assert len(tables) == 7
    for name, table_name in ((table, of) for table in tables for of in find_controller(table, {}).tables):
        path = context.results / table_path(table_name, "okvqa")
        saved = path.read_text()
        path.unlink()
        with pytest.raises(AdaMolmoError, match=f"{table_name}/okvqa.json"):
            load_named(name, context)
        path.write_text(saved)
        load_named(name, context)


def test_a_dataset_may_be_called_like_a_table_over_all(context):
    """Names of datasets and of what spans them cannot collide."""
    for dataset in ("pooled", "mean", "all"):
        path = context.results / table_path("mean", dataset)
        path.parent.mkdir(exist_ok=True)
        save_table(table(shift_ms=20), ORIGIN, path)
        assert choice("lookup-mean", 38, replace(context, dataset=dataset)) == "low-k8-b16"
        assert choice("lookup-mean", 30, replace(context, lookup_pooled=True)) == "high-k4-b12"


@pytest.mark.parametrize("configs", [GRID.configs[1:], [*GRID.configs, KnobConfig("high", 6, 16)]])
def test_table_of_another_grid(configs, context):
    latency_ms = LATENCY_MS | {KnobConfig("high", 6, 16): 30.0}
    other = LookupTable([Entry(config, 0.5, latency_ms[config], 9) for config in configs])
    save_table(other, ORIGIN, context.results / table_path("mean", "okvqa"))
    with pytest.raises(AdaMolmoError, match=r"mean/okvqa.json: the table was made for another grid.*top_k 4/8"):
        load_named("tier-only", context)


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
        load_named(name, context)
    assert message in str(error.value)


def test_only_policies_are_trained():
    trained = {name for name, entry in CONTROLLERS.items() if entry.trained}
    kinds = ("two-stage", "single-stage", "hybrid", "predict")
    assert trained == {name for name in CONTROLLERS if name.startswith(kinds)}
    assert {part for entry in CONTROLLERS.values() for part in entry.parts} < trained
    assert not find_controller("static-low-k4-b12", {}).trained


def test_a_controller_of_ones_own(tmp_path, monkeypatch, context):
    """A file finds what lies beside it; the library's names are taken, and what is no controller is refused."""
    (tmp_path / "knobs_of_mine.py").write_text("TIER = 'high'\n")
    (tmp_path / "mine.py").write_text(
        "from adamolmo.inference.controller import Controller, Decision\n"
        "from knobs_of_mine import TIER\n"
        "class Mine(Controller):\n"
        "    name = 'mine'\n"
        "    def predict_stage1(self, inputs):\n"
        "        return Decision(TIER, (8, 12))\n"
        "def load(name, context):\n"
        "    return Mine()\n"
    )
    (tmp_path / "empty.py").write_text("")
    monkeypatch.chdir(tmp_path)
    own = {"mine": OwnControllerSettings(module="mine.py")}
    assert find_controller("mine", own).module == "mine.py"
    controller = controller_module("mine.py").load("mine", context)
    assert controller.predict_stage1(Stage1Inputs(9.0)).tier == "high"
    with pytest.raises(AdaMolmoError, match="empty.py: has no function 'load'"):
        controller_module("empty.py")
    with pytest.raises(AdaMolmoError, match="absent.py: does not exist; expected the Python file of a controller"):
        controller_module("absent.py")
    with pytest.raises(AdaMolmoError, match="module 'no.such' does not exist"):
        controller_module("no.such")
    with pytest.raises(AdaMolmoError, match="own_controllers.lookup-mean: the library has a controller of that name"):
        find_controller("lookup-mean", {"lookup-mean": own["mine"]})


MINE = """
from dataclasses import dataclass
import pickle
from adamolmo.inference.controller import Controller, Decision

@dataclass
class Mine(Controller):
    name: str
    def predict_stage1(self, inputs):
        return Decision("high", (8, 12))

def load(name, context):
    return pickle.loads(pickle.dumps(Mine(name)))
"""


@pytest.mark.parametrize("file", ["random.py", "json.py", "adamolmo.py", "torch.py", "my controller.v2.py"])
def test_the_file_of_a_controller_may_be_called_as_a_module_of_others(tmp_path, context, file):
    """Nobody else imports it instead."""
    (tmp_path / file).write_text(MINE)
    before = sys.modules.get(Path(file).stem)
    assert load_controller("mine", str(tmp_path / file), context).name == "mine"
    assert sys.modules.get(Path(file).stem) is before


@pytest.mark.parametrize("returned", ["None", "'lookup-mean'", "type('Mine', (), {'name': name})()", "Nameless()"])
def test_what_loads_no_controller_is_one_sentence(tmp_path, context, returned):
    (tmp_path / "mine.py").write_text(
        "from adamolmo.inference.controller import Controller\n"
        "class Nameless(Controller):\n"
        "    def predict_stage1(self, inputs): ...\n"
        f"def load(name, context):\n    return {returned}\n"
    )
    with pytest.raises(AdaMolmoError, match=r"load\('mine', ...\) returned a \w+; expected a Controller with a name"):
        load_controller("mine", str(tmp_path / "mine.py"), context)


def test_a_table_chooses_in_microseconds(context):
    controller = load_named("lookup-mean", context)
    start = time.perf_counter()
    for budget_ms in range(1, 1001):
        controller.predict_stage1(Stage1Inputs(Limit(budget_ms)))
    assert (time.perf_counter() - start) / 1000 < 100e-6  # about 5 on an idle core


def test_tables_and_static_configurations_need_no_torch():
    code = (
        "import sys, adamolmo.controllers.lookup, adamolmo.controllers.static; "
        "from adamolmo.controllers.registry import find_controller; find_controller('two-stage-budget', {}); "
        "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
