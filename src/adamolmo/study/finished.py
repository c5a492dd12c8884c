"""The study that a person holds in Python. Light: what it needs of pandas and torch is imported when it is asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from adamolmo.budgets import Budget
from adamolmo.config import StudyConfig
from adamolmo.controllers.registry import CONTROLLERS, find_controller
from adamolmo.errors import AdaMolmoError, absence
from adamolmo.files.comparisons import COMPARISONS, EQUAL_LATENCY, HYPERVOLUMES, PROMISES, REGRET
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import read_table
from adamolmo.files.summary import SUMMARY
from adamolmo.inference.controller import Controller, Decision
from adamolmo.inference.device import claim_device
from adamolmo.progress import note
from adamolmo.study.arguments import PATH, expect, expect_text, open_picture
from adamolmo.study.asked import Asked

if TYPE_CHECKING:
    from pandas import DataFrame
    from PIL.Image import Image

    from adamolmo.study.answering import Answer, Answering

TABLES = {table.name: table for table in (SUMMARY, COMPARISONS, EQUAL_LATENCY, PROMISES, HYPERVOLUMES, REGRET)}


class Study:
    """A finished study: its results as DataFrames, and its engine for requests of one's own.

    Args:
        results: its directory `results`.
        config: its configuration; of several files later ones override single keys. Only `answer`, `predict` and
            `evaluate` read it.

    Every method raises AdaMolmoError, in one sentence, for what it cannot work with. Requests claim a device (on the
    CPU one core, with one thread) for as long as they run, so that no neighbour bends their time.
    """

    def __init__(
        self, results: str | PathLike = "results", config: str | PathLike | Sequence[str | PathLike] = "config.yaml"
    ) -> None:
        expect("results", results, PATH, "the path of a study's directory 'results'")
        self.results = Path(results)
        if not os.path.isdir(self.results):
            found = absence(self.results) or "is no directory"
            raise AdaMolmoError(f"{results}: {found}; expected the directory 'results' of a finished study.")
        expect("config", config, (*PATH, Sequence), "the path of a configuration file, or several")
        self._configs = [config] if isinstance(config, PATH) else list(config)
        for path in self._configs:
            expect("config", path, PATH, "the path of a configuration file, or several")

    def __repr__(self) -> str:
        return f"Study({str(self.results)!r}, {list(map(str, self._configs))})"

    @cached_property
    def settings(self) -> StudyConfig:
        """The study's configuration."""
        return StudyConfig.load(*self._configs)

    def table(self, name: str) -> DataFrame:
        """A table of results: "summary", "comparisons", "equal_latency", "promises", "hypervolumes" or "regret".

        Their columns, with units, are in docs/results-schema.md.
        """
        expect("table", name, str, f"one of {', '.join(TABLES)}")
        if name not in TABLES:
            raise AdaMolmoError(f"table is {name!r}; expected one of {', '.join(TABLES)}.")
        path = self.results / f"{name}.parquet"
        if name == REGRET.name and not path.exists():
            raise AdaMolmoError(f"{path}: does not exist; expected a study whose controllers name the oracle.")
        return read_table(path, TABLES[name])[0]

    def questions(self, dataset: str) -> DataFrame:
        """The questions that controllers are judged on: sample_id, image_id, image (the file's bytes), question and
        answers (the references)."""
        expect("dataset", dataset, str, "a name")
        known = sorted(path.parent.name for path in self.results.glob("data/*/evaluation.parquet"))
        if dataset not in known:
            raise AdaMolmoError(f"dataset is {dataset!r}; this study's results have {', '.join(known) or 'none'}.")
        return read_table(self.results / "data" / dataset / "evaluation.parquet", SAMPLES)[0]

    def answers(
        self, dataset: str | None = None, controller: str | None = None, budget: str | Budget | None = None
    ) -> DataFrame:
        """Every answer that the study evaluated, beside its question and references; None: of all.

        Beside the columns of the cells' tables: `right` (a score of at least 0.5), `late`, `disputed` (some controllers
        were right here and others wrong), `config` (the knobs as they are written).
        """
        from adamolmo.evaluation.requests import read_requests  # brings pandas

        for key, value in {"dataset": dataset, "controller": controller}.items():
            expect(key, value, (str, type(None)), "a name, or None for all of them")
        written = None if budget is None else str(_budget(budget))
        return read_requests(self.results, self.table("summary"), dataset, controller, written)

    def answer(
        self,
        image: str | PathLike | bytes | Image,
        question: str,
        budget: str | Budget,
        controller: str | Controller,
        dataset: str | None = None,
        state: str | PathLike | None = None,
    ) -> Answer:
        """Answers a question about an image under a latency budget.

        Calls with the same budget, controller and dataset are one stream of requests: what the budget promises
        (`60pct-p95`, `60pct-mean`) is kept over all of them. The first of a stream is answered after warm-up.

        Args:
            budget: "60pct" of the full configuration's latency, "170ms", or with a promise behind it.
            controller: by its name in the study, or an object of one's own (docs/add-a-controller.md).
            dataset: whose lookup table, prompt style and reference latency count; None: the first.
            state: a file that keeps the stream from one process to the next; it need not exist yet.
        """
        asked, picture = self._asked(budget, controller, dataset), open_picture(image, self.settings.samples.max_pixels)
        expect_text("question", question)
        kept = self._check_state(asked, state)
        with claim_device(self.settings.model.device, self.settings.model.gpus):
            return self._answering.answer(asked, picture, question, kept)

    def predict(
        self,
        budget: str | Budget,
        controller: str | Controller,
        dataset: str | None = None,
        image: str | PathLike | bytes | Image | None = None,
        question: str | None = None,
    ) -> Decision:
        """What a controller chooses for one request; without image and question, what it chooses for any.

        `decoder` is None where the controller settles top_k and blocks only after it has read the prompt.
        """
        asked = self._asked(budget, controller, dataset)
        if (image is None) != (question is None):
            given, missing = ("question", "image") if image is None else ("image", "question")
            raise AdaMolmoError(f"{given} was given without {missing}; expected both or neither.")
        picture = None if image is None else open_picture(image, self.settings.samples.max_pixels)
        if question is not None:
            expect_text("question", question)
        with claim_device(self.settings.model.device, self.settings.model.gpus):
            decision = self._answering.predict(asked, picture, question)
        self._note_unmet(asked)
        return decision

    def evaluate(self, budget: str | Budget, controller: str | Controller, dataset: str | None = None) -> DataFrame:
        """Lets a controller answer all evaluation questions of a dataset as one stream, as a cell of the study does.

        Returns the columns of `answers`, without `disputed`. Nothing is written.
        """
        asked = self._asked(budget, controller, dataset)
        with claim_device(self.settings.model.device, self.settings.model.gpus):
            return self._answering.evaluate(asked)

    def budget_ms(self, budget: str | Budget, dataset: str | None = None) -> float:
        """What a budget is in milliseconds, on the device that the study ran on."""
        return Asked("", self._dataset(dataset), _budget(budget)).budget_ms(self.results)

    @cached_property
    def _answering(self) -> Answering:
        """Made when the device is claimed."""
        from adamolmo.study.answering import Answering  # brings torch

        return Answering(self.settings, self.results)

    def _asked(self, budget: str | Budget, controller: str | Controller, dataset: str | None) -> Asked:
        """With all that can be wrong found before a device is waited for."""
        expect("controller", controller, (str, Controller), "the name of a controller, or an adamolmo.Controller")
        own = self.settings.own_controllers
        if isinstance(controller, str):
            trained = {path.parent.name for path in self.results.glob("controllers/*/policy.json")}
            if find_controller(controller, own).trained and controller not in trained:
                names = ", ".join(sorted(trained)) or "none"
                raise AdaMolmoError(f"controller '{controller}' was not trained in this study; trained are {names}.")
        elif not isinstance(getattr(controller, "name", None), str) or controller.name in {*CONTROLLERS, *own}:
            raise AdaMolmoError(
                f"the controller's name is {getattr(controller, 'name', None)!r}; expected a name that no other has."
            )
        asked = Asked(controller, self._dataset(dataset), _budget(budget))
        asked.budget_ms(self.results)
        return asked

    def _note_unmet(self, asked: Asked) -> None:
        reference, budget_ms = asked.reference(self.results), asked.budget_ms(self.results)
        if reference is not None and budget_ms < reference.lowest_median_latency_ms:
            fastest = f"the fastest takes {reference.lowest_median_latency_ms:.3g} ms"
            note(f"no configuration meets {asked.budget} ({budget_ms:.3g} ms) by the profile: {fastest}")

    def _dataset(self, dataset: str | None) -> str:
        """The first where none is named."""
        known = list(self.settings.datasets)
        if dataset is not None and dataset not in known:
            raise AdaMolmoError(f"dataset is {dataset!r}; expected one of {', '.join(known)}.")
        return dataset or known[0]

    def _check_state(self, asked: Asked, state: str | PathLike | None) -> Path | None:
        """Raises AdaMolmoError when there is nothing to keep, or the file is another stream's."""
        if state is None:
            return None
        expect("state", state, PATH, "the path of a JSON file")
        if asked.budget.promise is None:
            raise AdaMolmoError(
                f"state keeps a promise from call to call, and budget {asked.budget} promises nothing; expected "
                f"such as {asked.budget}-p95 or {asked.budget}-mean."
            )
        asked.stream.read(Path(state))
        return Path(state)


def _budget(budget: str | Budget) -> Budget:
    expect("budget", budget, (str, Budget), "a text such as '60pct', '170ms' or '60pct-p95'")
    return budget if isinstance(budget, Budget) else Budget.parse(budget)
