"""One fixed configuration for every request and budget."""

from adamolmo.controllers.base import Controller, ControllerContext, Decision, Design, Stage1Inputs
from adamolmo.errors import AdaMolmoError
from adamolmo.knobs import KnobConfig

PREFIX = "static-"


class StaticController(Controller):
    def __init__(self, name: str, config: KnobConfig):
        self.name = name
        self.config = config

    def predict_stage1(self, inputs: Stage1Inputs) -> Decision:
        return Decision.of(self.config)


def design(name: str) -> Design:
    return Design()


def load(name: str, context: ControllerContext) -> StaticController:
    """`static-full` or `static-<config>`. Raises AdaMolmoError for a configuration outside the grid."""
    grid = context.study.grid
    written = name.removeprefix(PREFIX)
    config = grid.full if written == "full" else KnobConfig.parse(written)
    if config not in grid.configs:
        raise AdaMolmoError(f"controller '{name}': {config} is not in the study's grid; expected values of {grid}.")
    return StaticController(name, config)
