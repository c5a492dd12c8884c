"""One fixed configuration for every request and budget."""

from adamolmo.controllers.base import ControllerContext, Design
from adamolmo.errors import AdaMolmoError
from adamolmo.inference.controller import FixedController
from adamolmo.knobs import KnobConfig

PREFIX = "static-"


def design(name: str) -> Design:
    return Design()


def load(name: str, context: ControllerContext) -> FixedController:
    """`static-full` or `static-<config>`. Raises AdaMolmoError for a configuration outside the grid."""
    grid = context.fingerprint.grid
    written = name.removeprefix(PREFIX)
    config = grid.full if written == "full" else KnobConfig.parse(written)
    if config not in grid.configs:
        raise AdaMolmoError(f"controller '{name}': {config} is not in the study's grid; expected values of {grid}.")
    return FixedController(config, name)
