"""The engine of a finished study, and the streams of requests that it answers.

Import it when the device is claimed: it brings torch.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pandas import DataFrame
from PIL import Image

from adamolmo.config import StudyConfig
from adamolmo.controllers.base import ControllerContext
from adamolmo.controllers.governor import Governor, load_governor
from adamolmo.controllers.modules import load_controller
from adamolmo.controllers.registry import find_controller
from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.cell import governed_answer
from adamolmo.evaluation.cell_summary import Cell
from adamolmo.evaluation.requests import read_questions, with_questions
from adamolmo.evaluation.serving import tpot_ms, ttft_ms
from adamolmo.files.core_exp import Reference
from adamolmo.files.documents import read_json
from adamolmo.files.governor import GovernorState
from adamolmo.inference.clock import StageTimes, warm_up
from adamolmo.inference.consulting import first_decision, what_it_reads
from adamolmo.inference.controller import Controller, Decision, Limit, Stage1Inputs
from adamolmo.inference.engine import Engine, Response
from adamolmo.inference.speed_probe import SpeedProbe
from adamolmo.jobs.cell import run_cell
from adamolmo.jobs.loading import controller_context, energy_counter, load_engine
from adamolmo.knobs import KnobConfig
from adamolmo.study.asked import Asked

_PROBES = 3


@dataclass(frozen=True)
class Answer:
    """An answered request.

    Attributes:
        text: the answer.
        config: the knobs that the controller chose.
        stages: what each stage took; together latency_ms.
        output_tokens: length of the answer without the end token.
        energy_j: joules of the device meanwhile; None without an energy counter, or with the modelled clock.
        budget_ms: what the budget is on this device.
        margin: of the stream's governor for its next request; None where the budget promises nothing.
        slowdown: how many times as long as during the profile the device took before the stream's first request here;
            None with the modelled clock, or without a profile.
    """

    text: str
    config: KnobConfig
    stages: StageTimes
    output_tokens: int
    energy_j: float | None
    budget_ms: float
    margin: float | None
    slowdown: float | None

    @property
    def latency_ms(self) -> float:
        return self.stages.total_ms

    @property
    def ttft_ms(self) -> float:
        """Time to first token."""
        return ttft_ms(self.stages)

    @property
    def tpot_ms(self) -> float:
        """Time per output token; NaN where the answer is empty."""
        return tpot_ms(self.stages, self.output_tokens)

    @property
    def late(self) -> bool:
        return self.latency_ms > self.budget_ms


@dataclass
class _OpenStream:
    """`slowdown` as in Answer."""

    controller: Controller
    governor: Governor
    slowdown: float | None = None


class Answering:
    """The engine, loaded when it is first needed, and one governor for each kind of requests so far.

    Args:
        results: directory of the study's results.
    """

    def __init__(self, settings: StudyConfig, results: Path):
        self.settings = settings
        self.results = results
        self._streams: dict[Hashable, _OpenStream] = {}

    @cached_property
    def engine(self) -> Engine:
        scores = self.results / "importance" / "scores.json"
        return load_engine(self.settings, self.results / "model", scores, energy_counter(self.settings))

    def answer(self, asked: Asked, image: Image.Image, question: str, state: Path | None) -> Answer:
        """The answer after warm-up, as a request to a running service would be timed.

        Args:
            state: file that keeps the governor's state between processes; it need not exist yet.
        """
        is_new, stream = self._stream(asked, state)
        controller, governor = stream.controller, stream.governor
        style = self.settings.datasets[asked.dataset].style

        def ask(limit: Limit) -> Response:
            return self.engine.answer(image, question, style, controller, limit)

        if is_new and self.engine.clock.name == "measured":
            warm_up(lambda: ask(governor.limit).stages.total_ms, self.settings.latency.max_warmup)
            stream.slowdown = self._slowdown(asked)
            if stream.slowdown is not None:
                governor.begin_at(stream.slowdown)
        response, _ = governed_answer(governor, ask)
        if state is not None:
            asked.stream.write(state, governor.state)
        margin = None if asked.budget.promise is None else governor.state.margin
        return Answer(
            response.answer,
            response.config,
            response.stages,
            response.output_tokens,
            response.energy_j,
            governor.budget_ms,
            margin,
            stream.slowdown,
        )

    def _slowdown(self, asked: Asked) -> float | None:
        """How many times as long as during the profile the same request takes now."""
        reference = asked.reference(self.results)
        profiled = reference and reference.reference_request_ms
        if profiled is None:
            return None
        probe = SpeedProbe(self.engine, self.settings.knobs.grid.full)
        probe.run()  # warm-up
        return probe.median_ms(_PROBES) / profiled.value

    def predict(self, asked: Asked, image: Image.Image | None, question: str | None) -> Decision:
        """What the controller chooses for the first request of a stream; (top_k, blocks) is open where it reads the
        prompt first, and there is none."""
        controller, governor = self._load(asked)
        if image is not None:
            style = self.settings.datasets[asked.dataset].style
            return Decision.of(self.engine.answer(image, question, style, controller, governor.limit).config)
        if reads := what_it_reads(controller, governor.limit):
            raise AdaMolmoError(
                f"controller '{controller.name}' reads {' and '.join(sorted(reads))}; "
                "expected image and question as well."
            )
        return first_decision(controller, Stage1Inputs(governor.limit))

    def evaluate(self, asked: Asked) -> DataFrame:
        """The requests of a cell of its own, as `with_questions` has them."""
        name = asked.stream.controller
        samples = self.results / "data" / asked.dataset / "evaluation.parquet"
        cell = Cell(asked.dataset, name, asked.budget, read_json(asked.reference_path(self.results), Reference))
        controller, governor = self._load(asked)
        rows, _, _ = run_cell(self.settings, self.engine, cell, controller, governor, samples)
        rows = rows.astype({"energy_j": float})  # as a file has it: what is missing is NaN
        names = (asked.dataset, name, str(asked.budget), cell.budget_ms)
        return with_questions(rows, read_questions(self.results, asked.dataset), *names)

    def _stream(self, asked: Asked, state: Path | None) -> tuple[bool, _OpenStream]:
        """Whether this is the stream's first request here, and who answers it; what stands in the file counts."""
        kept = None if state is None else asked.stream.read(state)
        key = asked.key, state
        is_new = key not in self._streams
        if is_new:
            self._streams[key] = _OpenStream(*self._load(asked, kept))
        elif kept is not None:
            self._streams[key].governor.state = kept
        return is_new, self._streams[key]

    def _load(self, asked: Asked, state: GovernorState | None = None) -> tuple[Controller, Governor]:
        """The controller, and the governor of a new stream or of one that has come as far as `state`."""
        context = controller_context(self.settings, self.results / "model", asked.dataset)
        controller = self._controller(asked.controller, context)
        return controller, load_governor(controller, asked.budget, asked.budget_ms(self.results), context, state)

    def _controller(self, controller: str | Controller, context: ControllerContext) -> Controller:
        if isinstance(controller, Controller):
            what_it_reads(controller, Limit(1.0))
            return controller
        return load_controller(controller, find_controller(controller, self.settings.own_controllers).module, context)
