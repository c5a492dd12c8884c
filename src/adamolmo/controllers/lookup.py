"""The best configuration of a lookup table at the budget, the same for every sample."""

from adamolmo.controllers.base import Controller, ControllerContext, Decision, Design, Stage1Inputs
from adamolmo.controllers.table import LookupTable, load_tables
from adamolmo.errors import AdaMolmoError

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


def load(name: str, context: ControllerContext) -> LookupController:
    """The table of the context's dataset, or the pooled one.

    Raises AdaMolmoError for a file that is no lookup table, lacks the dataset, or covers another grid.
    """
    aggregation, free_knob = _TABLES[name]
    table, grid = load_table(aggregation, context), context.study.grid
    if free_knob is not None:
        full = {knob: getattr(grid.full, knob) for knob in ("tier", "top_k", "num_active_blocks")}
        table = table.restrict(**{knob: value for knob, value in full.items() if knob != free_knob})
    return LookupController(name, table, context.lookup_tolerance)


def load_table(aggregation: str, context: ControllerContext) -> LookupTable:
    """Raises AdaMolmoError for a file that is no lookup table, lacks the dataset, or covers another grid."""
    path = context.results / "lookup" / f"{aggregation}.json"
    tables = load_tables(path)
    key = "pooled" if context.lookup_pooled else context.dataset
    if key not in tables:
        raise AdaMolmoError(f"{path}: has no table '{key}'; it has {', '.join(tables)}.")
    table, grid = tables[key], context.study.grid
    if {entry.config for entry in table.entries} != set(grid.configs):
        raise AdaMolmoError(f"{path}: table '{key}' was made for another grid; expected {grid}.")
    return table
