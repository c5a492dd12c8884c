"""The best configuration of a lookup table at the budget, the same for every sample."""

from adamolmo.controllers.base import ControllerContext, Design
from adamolmo.controllers.table import LookupTable, load_table, table_path
from adamolmo.errors import AdaMolmoError
from adamolmo.files.columns import KNOBS
from adamolmo.inference.controller import Controller, Decision, Stage1Inputs

# Which file's table, and which knob it may turn while the others stay full; None: all of them.
_TABLES = {
    "lookup-mean": ("mean", None),
    "lookup-median": ("median", None),
    "lookup-max_accuracy": ("max_accuracy", None),
    "tier-only": ("mean", "tier"),
    "topk-only": ("mean", "top_k"),
    "blocks-only": ("mean", "num_active_blocks"),
}


class LookupController(Controller):
    def __init__(self, name: str, table: LookupTable, tolerance: float):
        self.name = name
        self.table = table
        self.tolerance = tolerance

    def predict_stage1(self, inputs: Stage1Inputs) -> Decision:
        return Decision.of(self.table.choose(inputs.budget_ms, self.tolerance).config)


def design(name: str) -> Design:
    return Design()


def table_of(context: ControllerContext, aggregation: str) -> LookupTable:
    """The lookup table of the context's dataset, or the one over all datasets with `lookup_pooled`.

    Args:
        aggregation: "mean", "median" or "max_accuracy".

    Raises AdaMolmoError for a file that is no lookup table, or covers another grid.
    """
    path = context.results / table_path(aggregation, None if context.lookup_pooled else context.dataset)
    table, grid = load_table(path), context.fingerprint.grid
    if {entry.config for entry in table.entries} != set(grid.configs):
        raise AdaMolmoError(f"{path}: the table was made for another grid; expected {grid}.")
    return table


def load(name: str, context: ControllerContext) -> LookupController:
    """Raises AdaMolmoError as `table_of`."""
    aggregation, free_knob = _TABLES[name]
    table, grid = table_of(context, aggregation), context.fingerprint.grid
    if free_knob is not None:
        full = {knob: getattr(grid.full, knob) for knob in KNOBS}
        table = table.restrict(**{knob: value for knob, value in full.items() if knob != free_knob})
    return LookupController(name, table, context.lookup_tolerance)
