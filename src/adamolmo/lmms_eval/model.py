"""The lmms-eval model: every request goes through `Engine.answer`, one at a time, under a controller and a budget."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from PIL import Image

from adamolmo.controllers.governor import Governor
from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.cell import governed_answer, request_columns
from adamolmo.inference.clock import warm_up
from adamolmo.inference.controller import Controller, Limit
from adamolmo.inference.engine import Engine, Response
from adamolmo.progress import note, progress

# Tasks whose score needs both documents of every pair, and the columns that name a pair.
_PAIRS = {"mme": ("category", "question_id")}


@dataclass(frozen=True)
class Setting:
    """How the requests of a task are answered.

    Attributes:
        governor: of this task's requests alone, which are one stream.
        style: the prompt's style prefix, None for none.
    """

    controller: Controller
    governor: Governor
    style: str | None = None


@dataclass(frozen=True)
class Answer:
    """What became of one document.

    Attributes:
        image_id: checksum of the image's pixels; documents with the same image are not independent of each other.
        prompt: the task's text, without AdaMolmo's format around it.
        text: the answer, cut at the task's stop strings.
        governed: as `evaluation.cell.governed_answer` gives it.
    """

    task: str
    doc_id: int
    image_id: str
    prompt: str
    text: str
    response: Response
    budget_ms: float
    governed: Mapping

    @property
    def budget_met(self) -> bool:
        return self.governed["budget_met"]

    def columns(self) -> dict:
        """The knobs, stage times and costs, whether the budget was met, by which budget, and the governor's part."""
        return {**request_columns(self.response), "budget_ms": self.budget_ms, **self.governed}


@dataclass
class RequestMeasures(TokenCounts):
    """Token counts as lmms-eval logs them for each sample, with the request's knobs and times."""

    measures: Mapping = field(default_factory=dict)

    def to_dict(self) -> dict:
        return {**super().to_dict(), **self.measures}


class AdaMolmo(lmms):
    """A loaded engine as lmms-eval's model.

    It is light: for another controller or budget make another one around the same engine. Answers are greedy, one
    request at a time, and nothing is cached between requests.

    Args:
        setting: task name -> how its requests are answered.
        max_warmup: most warm-up runs before the first timed request; no warm-up with a modelled clock.

    Attributes:
        answers: (task, document's number) -> what became of it.
    """

    is_simple = True

    def __init__(self, engine: Engine, setting: Callable[[str], Setting], max_warmup: int = 20):
        super().__init__()
        self.engine = engine
        self.setting = setting
        self.max_warmup = max_warmup
        self.answers: dict[tuple[str, int], Answer] = {}

    def generate_until(self, requests: Sequence[Instance]) -> list[GenerationResult]:
        """Answers in the order of the requests.

        A task's `max_new_tokens` and stop strings (`until`) are respected, as far as the model has positions; the
        engine's limit is the default.
        Raises AdaMolmoError for a document that has not exactly one image or too long a prompt, and for half a pair
        of MME.
        """
        asked = [request.args for request in requests]
        for task in dict.fromkeys(task for *_, task, _ in asked):
            self.setting(task)  # what is wrong with the last task is said before the first is answered
        self._check_pairs(asked)
        _note_sampling(generation for _, generation, *_ in asked)
        if asked and self.engine.clock.name == "measured":
            self._warm_up(asked[0])
        results = []
        for request in progress(asked, "lmms-eval, requests", len(asked)):
            answer = self._answer(request)
            self.answers[answer.task, answer.doc_id] = answer
            counts = RequestMeasures(
                answer.response.input_tokens, answer.response.output_tokens, measures=answer.columns()
            )
            results.append(GenerationResult(answer.text, counts))
        return results

    def _answer(self, request: tuple) -> Answer:
        prompt, generation, _, doc_id, task, _ = request
        image, setting = self._image(request), self.setting(task)
        with _about(task, doc_id):
            response, governed = governed_answer(
                setting.governor, lambda limit: self._ask(image, prompt, generation, setting, limit)
            )
        text = cut(response.answer, generation.get("until"))
        return Answer(task, doc_id, _image_id(image), prompt, text, response, setting.governor.budget_ms, governed)

    def _warm_up(self, request: tuple) -> None:
        prompt, generation, _, doc_id, task, _ = request
        image, setting = self._image(request), self.setting(task)
        limit = setting.governor.limit
        with _about(task, doc_id):
            warm_up(lambda: self._ask(image, prompt, generation, setting, limit).stages.total_ms, self.max_warmup)

    def _ask(self, image: Image.Image, prompt: str, generation: Mapping, setting: Setting, limit: Limit) -> Response:
        engine = copy(self.engine)
        asked = generation.get("max_new_tokens") or self.engine.max_new_tokens
        engine.max_new_tokens = min(asked, self._longest_answer(image, prompt, setting))
        return engine.answer(image, prompt, setting.style, setting.controller, limit)

    def _longest_answer(self, image: Image.Image, prompt: str, setting: Setting) -> int:
        """What the model's positions leave beside the prompt at its largest tier, for tasks that allow more; at least
        the study's own limit, without room for which the engine refuses a prompt."""
        sizes = self.engine.request_size(image, self.engine.backend.read_question(prompt, setting.style))
        left = self.engine.backend.sizes.max_positions - max(sizes.input_tokens)
        return max(left, self.engine.max_new_tokens)

    def _image(self, request: tuple) -> Image.Image:
        *_, doc_to_visual, doc_id, task, split = request
        with _about(task, doc_id):
            visuals = doc_to_visual(self.task_dict[task][split][doc_id])
        return _only_image(visuals, task, doc_id)

    def _check_pairs(self, asked: Sequence[tuple]) -> None:
        documents = {(task, split, doc_id) for *_, doc_id, task, split in asked if task in _PAIRS}
        pairs: Counter = Counter()
        for task, split, doc_id in documents:
            names = self.task_dict[task][split].select_columns(list(_PAIRS[task]))[doc_id]  # the image stays encoded
            pairs[task, *(f"{key} '{names[key]}'" for key in _PAIRS[task])] += 1
        for (task, *names), count in sorted(pairs.items()):
            if count != 2:
                raise AdaMolmoError(
                    f"task '{task}': {count} document(s) with {', '.join(names)}; its score needs exactly 2 of each: "
                    "check the task's data, or the limit on its documents."
                )

    def clean(self) -> None:
        """lmms-eval calls this when all requests are answered; the engine stays, it may serve the next budget."""

    def loglikelihood(self, requests: Sequence[Instance]) -> list:
        raise AdaMolmoError(f"task '{requests[0].task_name}' ranks given answers; AdaMolmo only generates answers.")

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list:
        raise AdaMolmoError(f"task '{requests[0].task_name}' asks in several rounds; AdaMolmo answers one question.")


def cut(text: str, until: str | Sequence[str] | None) -> str:
    """The text before the first of the stop strings. The model has generated what follows: it counts in the time."""
    for stop in [until] if isinstance(until, str) else until or ():
        if stop:
            text = text.partition(stop)[0]
    return text.strip()


@contextmanager
def _about(task: str, doc_id: int) -> Iterator[None]:
    """Whatever is wrong with a document is said with its name."""
    try:
        yield
    except AdaMolmoError as error:
        raise AdaMolmoError(f"task '{task}': document {doc_id}: {error}") from error


def _only_image(visuals: Sequence, task: str, doc_id: int) -> Image.Image:
    if len(visuals) != 1 or not isinstance(visuals[0], Image.Image):
        found = ", ".join(type(visual).__name__ for visual in visuals) or "nothing to see"
        raise AdaMolmoError(
            f"task '{task}': document {doc_id} has {found}; AdaMolmo answers questions about one image."
        )
    return visuals[0]


def _image_id(image: Image.Image) -> str:
    return hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).hexdigest()[:16]


def _note_sampling(generations: Iterable[Mapping]) -> None:
    if any(g.get("do_sample") or g.get("temperature") or g.get("num_beams", 1) > 1 for g in generations):
        note("a task asks for sampling or beam search; AdaMolmo's answers are greedy")
