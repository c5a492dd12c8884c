"""One request that is the same everywhere: how long it takes tells how fast the device is at the moment."""

from typing import TYPE_CHECKING

from PIL import Image

from adamolmo.controllers.static import StaticController
from adamolmo.data.procedural import scene
from adamolmo.knobs import KnobConfig

if TYPE_CHECKING:
    from adamolmo.inference.engine import Engine

_SIDE_PX = 768  # enough for all crops of the highest vision tier


class ReferenceRequest:
    """A question about a drawn image, answered with one fixed configuration.

    It belongs to no dataset, so the profiles and the cells of all of them time the same, and a cell can say how much
    slower the device was than during the profile.
    """

    def __init__(self, engine: "Engine", config: KnobConfig):
        self._engine = engine
        self._controller = StaticController(f"static-{config}", config)
        drawn = scene("coco_2014_vqa", "reference", 0).image
        self._image = drawn.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.NEAREST)

    def run(self) -> float:
        """Its latency in ms."""
        question = "how many objects are there ?"
        return self._engine.answer(
            self._image, question, None, self._controller, budget_ms=float("inf")
        ).stages.total_ms
