"""One request that is the same everywhere: how long it takes tells how fast the device is at the moment."""

from statistics import median

from PIL import Image

from adamolmo.data.procedural import scene
from adamolmo.inference.controller import FixedController, Limit
from adamolmo.inference.engine import Engine
from adamolmo.knobs import KnobConfig

_SIDE_PX = 768  # enough for all crops of the highest vision tier
_QUESTION = "how many objects are there ?"


class SpeedProbe:
    """A question about a drawn image, answered with one fixed configuration.

    It belongs to no dataset, so the profiles and the cells of all of them time the same, and a cell can say how much
    slower the device was than during the profile. In the result files it is the `reference_request`.
    """

    def __init__(self, engine: Engine, config: KnobConfig):
        self._engine = engine
        self._controller = FixedController(config)
        drawn = scene("coco_2014_vqa", "reference", 0).image
        self._image = drawn.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.NEAREST)

    def run(self) -> float:
        """Its latency in ms."""
        response = self._engine.answer(self._image, _QUESTION, None, self._controller, Limit())
        return response.stages.total_ms

    def median_ms(self, runs: int) -> float:
        """Of several runs."""
        return median(self.run() for _ in range(runs))
