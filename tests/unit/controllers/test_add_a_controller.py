"""docs/add-a-controller.md: its example works as it stands there."""

import re
import sys
import types
from pathlib import Path

import pytest
from policies import GRID, LATENCY_MS, context

from adamolmo.controllers import registry
from adamolmo.controllers.table import Entry, LookupTable, save_tables

PAGE = Path(__file__).parents[3] / "docs" / "add-a-controller.md"


@pytest.fixture
def careful(monkeypatch, tmp_path):
    """The page's controller, loaded by its name."""
    module_text, entry = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (name, registration), *others = eval(f"{{{entry}}}", vars(registry)).items()
    assert not others
    monkeypatch.setitem(registry.CONTROLLERS, name, registration)
    module = types.ModuleType(registration.module)
    exec(compile(module_text, str(PAGE), "exec"), vars(module))
    monkeypatch.setitem(sys.modules, registration.module, module)
    table = LookupTable([Entry(c, ms / 40, float(ms), 9) for c, ms in zip(GRID.configs, LATENCY_MS, strict=True)], {})
    (tmp_path / "lookup").mkdir()
    save_tables({"okvqa": table}, tmp_path / "lookup" / "mean.json")
    assert registration.inputs == ("lookup/mean.json",)
    return registry.load_controller(name, context(tmp_path)), registry.load_controller("lookup-mean", context(tmp_path))


def test_the_example_answers_requests(careful, tiny_engine, tiny_samples):
    controller, table = careful
    sample = tiny_samples[0]

    def chosen(by, budget_ms):
        return tiny_engine.answer(sample.open_image(), sample.question, "tiny", by, budget_ms).config

    assert controller.name == "careful"
    for budget_ms in (15.0, 24.0, 40.0):
        assert chosen(controller, budget_ms) == chosen(table, 0.9 * budget_ms)
    assert chosen(controller, 24.0) != chosen(table, 24.0)
