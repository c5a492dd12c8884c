"""`python -m lmms_eval --model adamolmo --model_args pretrained=results/model,controller=...,budget=200ms --tasks ...`

lmms-eval prints a traceback for every exception and exits with status 0. Here bad input ends the process with one
sentence and status 1, as it does in the study's scripts.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from lmms_eval.api.instance import GenerationResult, Instance

from adamolmo.budgets import Budget
from adamolmo.config import StudyConfig
from adamolmo.config.lmms_eval import LmmsTaskSettings
from adamolmo.controllers.registry import find_controller
from adamolmo.errors import AdaMolmoError
from adamolmo.inference.device import claim_device
from adamolmo.jobs.loading import energy_counter, load_engine
from adamolmo.lmms_eval.data import task_data
from adamolmo.lmms_eval.model import AdaMolmo, Setting
from adamolmo.lmms_eval.setting import check_profile, load_setting
from adamolmo.progress import note


@dataclass(frozen=True)
class ModelArguments:
    """The keys of `--model_args`.

    Attributes:
        pretrained: directory of the prepared model, beside the study's other results.
        config: configuration files of the study, joined by "+"; a later one overrides single keys.
        profile, style: for all tasks; without them as the configuration has them for each task.
        data: directory of prepared task data; without it lmms-eval fetches what it needs.
    """

    pretrained: str
    controller: str
    budget: str
    config: str = "config.yaml"
    profile: str | None = None
    style: str | None = None
    data: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ModelArguments":
        """Raises AdaMolmoError for an unknown or missing key."""
        known = [key.name for key in fields(cls)]
        given = dict(part.partition("=")[::2] for part in text.split(",") if part)
        for key in given:
            if key not in known:
                close = get_close_matches(key, known, n=1)
                hint = f"did you mean '{close[0]}'?" if close else f"expected {', '.join(known)}."
                raise AdaMolmoError(f"--model_args: key '{key}' is unknown; {hint}")
        for key in known[:3]:
            if not given.get(key):
                raise AdaMolmoError(f"--model_args: key '{key}' is missing; expected {key}=...")
        return cls(**given)


class CommandLineModel(AdaMolmo):
    """What lmms-eval's command line makes.

    Attributes:
        held: the claimed device and the task data, until the process ends.
    """

    held: ExitStack

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: dict | None = None) -> "CommandLineModel":
        with _exit_on_error():
            return cls._create(ModelArguments.parse(arg_string), additional_config or {})

    @classmethod
    def _create(cls, arguments: ModelArguments, options: dict) -> "CommandLineModel":
        settings = StudyConfig.load(*arguments.config.split("+"))
        budget = Budget.parse(arguments.budget)
        module = find_controller(arguments.controller, settings.own_controllers).module
        _check_options(settings, options)
        held = ExitStack()
        model_dir = Path(arguments.pretrained)
        scores = model_dir.parent / "importance" / "scores.json"
        held.enter_context(claim_device(settings.model.device, settings.model.gpus))
        engine = load_engine(settings, model_dir, scores if scores.exists() else None, energy_counter(settings))

        @cache
        def setting(task: str) -> Setting:
            profile, style = _task_settings(settings, task, arguments)
            return load_setting(settings, model_dir, profile, arguments.controller, module, budget, style)

        held.enter_context(task_data(Path(arguments.data) if arguments.data else None, _exit_on_error))
        model = cls(engine, setting, settings.latency.max_warmup)
        model.held = held
        return model

    def generate_until(self, requests: Sequence[Instance]) -> list[GenerationResult]:
        with _exit_on_error():
            results = super().generate_until(requests)
        for task in dict.fromkeys(task for task, _ in self.answers):
            answers = [answer for answer in self.answers.values() if answer.task == task]
            latencies_ms = sorted(answer.response.stages.total_ms for answer in answers)
            late = sum(not answer.budget_met for answer in answers)
            note(
                f"{task}: {len(answers)} requests, median latency {latencies_ms[len(answers) // 2]:.1f} ms, "
                f"{100 * late / len(answers):.1f} % over the budget of {answers[0].budget_ms:.1f} ms"
            )
        return results


def _check_options(settings: StudyConfig, options: dict) -> None:
    if (size := options.get("batch_size")) not in (None, 1, "1"):
        raise AdaMolmoError(f"--batch_size is {size}; latency is that of single requests: expected 1.")
    device, expected = options.get("device"), settings.model.device
    if device is not None and device.partition(":")[0] != expected:
        raise AdaMolmoError(f"--device is '{device}'; the study's model.device is '{expected}': expected the same.")


def _task_settings(settings: StudyConfig, task: str, arguments: ModelArguments) -> tuple[str, str | None]:
    """Profile and style of a task."""
    configured: LmmsTaskSettings | None = settings.lmms_eval.tasks.get(task)
    profile = arguments.profile or (configured and configured.profile)
    if profile is None:
        raise AdaMolmoError(
            f"task '{task}' is not among lmms_eval.tasks of {arguments.config}; expected an entry there, or "
            f"profile=<dataset> in --model_args: one of {', '.join(settings.datasets)}."
        )
    check_profile(settings, task, profile)
    return profile, arguments.style or (configured.style if configured else None)


@contextmanager
def _exit_on_error() -> Iterator[None]:
    try:
        yield
    except AdaMolmoError as error:
        sys.exit(f"error: {error}")
