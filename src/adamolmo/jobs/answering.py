"""One request to a finished study, as `adamolmo answer` and `adamolmo predict` ask it.

Import it when the device is claimed: it brings torch.
"""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from adamolmo.config import StudyConfig
from adamolmo.controllers.governor import Governor, load_governor
from adamolmo.controllers.governor_file import Stream
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
    stream: the controller, the budget, and the dataset whose lookup table and prompt style count.
    module: where the controller comes from, as in the registry.
    image, question: None where the controller may decide without them.
    """

    settings: StudyConfig
    results: Path
    stream: Stream
    module: str
    budget_ms: float
    image: Image.Image | None
    question: str | None

    def answer(self, state: Path | None = None) -> tuple[Response, Governor]:
        """The answer after warm-up, as a request to a running service would be timed, and the governor after it.

        Args:
            state: file that keeps the governor's state between calls; it need not exist yet.
        """
        controller, governor = self._load_controller(state)
        engine = load_engine(self.settings, self.results / "model", self.results / "importance" / "scores.json")
        style, limit = self.settings.datasets[self.stream.dataset].style, governor.limit

        def ask() -> Response:
            return engine.answer(self.image, self.question, style, controller, limit)

        if engine.clock.name == "measured":
            warm_up(lambda: ask().stages.total_ms, self.settings.latency.max_warmup)
        response = ask()
        governor.observe(response.stages.total_ms)
        if state is not None:
            self.stream.write(state, governor.state)
        return response, governor

    def decide(self) -> Decision:
        """What the controller chooses; (top_k, blocks) is open where it reads the prompt first, and there is none."""
        if self.image is not None:
            response, _ = self.answer()
            return Decision.of(response.config)
        controller, governor = self._load_controller()
        if reads := controller.reads(governor.limit):
            raise AdaMolmoError(
                f"controller '{controller.name}' reads {' and '.join(sorted(reads))}; "
                "expected IMAGE and QUESTION as well."
            )
        return controller.predict_stage1(Stage1Inputs(governor.limit))

    def _load_controller(self, state: Path | None = None) -> tuple[Controller, Governor]:
        """The controller, and the governor of the stream that `state` has kept, or of a new one."""
        context = controller_context(self.settings, self.results / "model", self.stream.dataset)
        controller = load_controller(self.stream.controller, self.module, context)
        kept = None if state is None else self.stream.read(state)
        return controller, load_governor(controller, self.stream.budget, self.budget_ms, context, kept)
