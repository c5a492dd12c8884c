"""One request to a finished study, as `adamolmo answer` and `adamolmo predict` ask it.

Import it when the device is claimed: it brings torch.
"""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from adamolmo.config import StudyConfig
from adamolmo.controllers.modules import load_controller
from adamolmo.errors import AdaMolmoError
from adamolmo.inference.clock import warm_up
from adamolmo.inference.controller import Controller, Decision, Stage1Inputs
from adamolmo.inference.engine import Response
from adamolmo.jobs.loading import controller_context, load_engine


@dataclass(frozen=True)
class Request:
    """Attributes:
    results: directory of the study's results.
    dataset: whose lookup table and prompt style count.
    module: where the controller comes from, as in the registry.
    image, question: None where the controller may decide without them.
    """

    settings: StudyConfig
    results: Path
    dataset: str
    controller: str
    module: str
    budget_ms: float
    image: Image.Image | None
    question: str | None

    def answer(self) -> Response:
        """The answer after warm-up, as a request to a running service would be timed."""
        controller = self._load_controller()
        engine = load_engine(self.settings, self.results / "model", self.results / "importance" / "scores.json")
        style = self.settings.datasets[self.dataset].style

        def ask() -> Response:
            return engine.answer(self.image, self.question, style, controller, self.budget_ms)

        if engine.clock.name == "measured":
            warm_up(lambda: ask().stages.total_ms, self.settings.latency.max_warmup)
        return ask()

    def decide(self) -> Decision:
        """What the controller chooses; (top_k, blocks) is open where it reads the prompt first, and there is none."""
        if self.image is not None:
            return Decision.of(self.answer().config)
        controller = self._load_controller()
        if reads := controller.reads(self.budget_ms):
            raise AdaMolmoError(
                f"controller '{self.controller}' reads {' and '.join(sorted(reads))}; "
                "expected IMAGE and QUESTION as well."
            )
        return controller.predict_stage1(Stage1Inputs(self.budget_ms))

    def _load_controller(self) -> Controller:
        context = controller_context(self.settings, self.results / "model", self.dataset)
        return load_controller(self.controller, self.module, context)
