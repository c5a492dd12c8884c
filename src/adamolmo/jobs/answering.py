"""One request to a finished study, as `adamolmo answer` and `adamolmo predict` ask it.

Import it when the device is claimed: it brings torch.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from PIL import Image

from adamolmo.config import StudyConfig
from adamolmo.controllers.governor import Governor, load_governor
from adamolmo.controllers.governor_file import Stream
from adamolmo.controllers.modules import load_controller
from adamolmo.errors import AdaMolmoError
from adamolmo.files.core_exp import Reference
from adamolmo.inference.clock import warm_up
from adamolmo.inference.controller import Controller, Decision, Stage1Inputs
from adamolmo.inference.engine import Engine, Response
from adamolmo.inference.speed_probe import SpeedProbe
from adamolmo.jobs.loading import controller_context, load_engine

_PROBES = 3


@dataclass(frozen=True)
class Answered:
    """Attributes:
    governor: as it is after the answer.
    slowdown: of the device against the profile; None with the modelled clock, or without a profile.
    """

    response: Response
    governor: Governor
    slowdown: float | None


@dataclass(frozen=True)
class Request:
    """Attributes:
    results: directory of the study's results.
    stream: the controller, the budget, and the dataset whose lookup table and prompt style count.
    module: where the controller comes from, as in the registry.
    reference: of the dataset's profile; None where nothing depends on it.
    image, question: None where the controller may decide without them.
    """

    settings: StudyConfig
    results: Path
    stream: Stream
    module: str
    budget_ms: float
    reference: Reference | None
    image: Image.Image | None
    question: str | None

    def answer(self, state: Path | None = None) -> Answered:
        """The answer after warm-up, as a request to a running service would be timed.

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
        return Answered(response, governor, self._slowdown(engine))

    def _slowdown(self, engine: Engine) -> float | None:
        """How many times as long as during the profile the same request takes now."""
        profiled = self.reference and self.reference.reference_request_ms
        if engine.clock.name != "measured" or profiled is None:
            return None
        probe = SpeedProbe(engine, self.settings.knobs.grid.full)
        probe.run()  # warm-up
        return median(probe.run() for _ in range(_PROBES)) / profiled.value

    def decide(self) -> Decision:
        """What the controller chooses; (top_k, blocks) is open where it reads the prompt first, and there is none."""
        if self.image is not None:
            return Decision.of(self.answer().response.config)
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
