"""docs/add-a-controller.md: its example works as it stands there."""

import re
from pathlib import Path

import pytest
import yaml
from made_documents import ORIGIN
from policies import GRID, LATENCY_MS, context

from adamolmo.config.controllers import OwnControllerSettings
from adamolmo.controllers.modules import load_controller
from adamolmo.controllers.registry import find_controller
from adamolmo.controllers.table import Entry, LookupTable, save_table, table_path
from adamolmo.inference.controller import Limit

PAGE = Path(__file__).parents[3] / "docs" / "add-a-controller.md"


@pytest.fixture
def careful(monkeypatch, tmp_path):
    """The page's controller and the table that it is made from, loaded as a job loads them."""
    (module,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (entry,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    configured = yaml.safe_load(entry)
    own = {name: OwnControllerSettings(**value) for name, value in configured["own_controllers"].items()}
    monkeypatch.chdir(tmp_path)
    Path(own["careful"].module).write_text(module)
    table = LookupTable([Entry(c, ms / 40, float(ms), 9) for c, ms in zip(GRID.configs, LATENCY_MS, strict=True)])
    for aggregation in own["careful"].tables:
        path = tmp_path / table_path(aggregation, "okvqa")
        path.parent.mkdir(parents=True)
        save_table(table, ORIGIN, path)
    assert configured["controllers"][-2:] == ["lookup-mean", "careful"]
    names = ("careful", "lookup-mean")
    return [load_controller(name, find_controller(name, own).module, context(tmp_path)) for name in names]


def test_the_example_answers_requests(careful, tiny_engine, tiny_samples):
    controller, table = careful
    sample = tiny_samples[0]

    def chosen(by, budget_ms):
        return tiny_engine.answer(sample.open_image(), sample.question, "tiny", by, Limit(budget_ms)).config

    assert controller.name == "careful"
    for budget_ms in (15.0, 24.0, 40.0):
        assert chosen(controller, budget_ms) == chosen(table, 0.9 * budget_ms)
    assert chosen(controller, 24.0) != chosen(table, 24.0)
