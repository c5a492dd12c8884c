"""The command line of a finished study: `adamolmo answer`, `adamolmo predict` and `adamolmo inspect`.

A subcommand is a function that adds its parser and sets `run`; COMMANDS lists them.
"""

import argparse
import json
from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from adamolmo.budgets import Budget
from adamolmo.config import StudyConfig
from adamolmo.controllers.base import Controller, Decision, Limit, Stage1Inputs
from adamolmo.controllers.registry import load_controller
from adamolmo.core_exp.inspection import inspect_profile
from adamolmo.errors import AdaMolmoError
from adamolmo.files.core_exp import REFERENCE
from adamolmo.files.schema import read_json
from adamolmo.inference.latency import claim_device, describe_device, warm_up
from adamolmo.jobs.loading import controller_context, load_engine
from adamolmo.jobs.script import run

if TYPE_CHECKING:
    from adamolmo.inference.engine import Response


def main(arguments: list[str] | None = None) -> None:
    args = command_line().parse_args(arguments)
    run(lambda: args.run(args))


def command_line() -> ArgumentParser:
    parser = ArgumentParser(prog="adamolmo", description="Latency-adaptive answers with MolmoE.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    return parser


def add_answer(commands) -> None:
    parser = commands.add_parser("answer", help="answer a question about an image under a latency budget")
    parser.add_argument("image", type=Path, metavar="IMAGE")
    parser.add_argument("question", metavar="QUESTION")
    _add_study(parser)
    parser.set_defaults(run=answer)


def add_predict(commands) -> None:
    parser = commands.add_parser("predict", help="print the knobs that a controller chooses, as JSON")
    parser.add_argument(
        "image", type=Path, metavar="IMAGE", nargs="?", help="needed if the controller reads the request"
    )
    parser.add_argument("question", metavar="QUESTION", nargs="?")
    _add_study(parser)
    parser.set_defaults(run=predict)


def add_inspect(commands) -> None:
    parser = commands.add_parser("inspect", help="summarise a profile: origin, quality of its latencies, frontier")
    parser.add_argument("file", type=Path, metavar="FILE", help="results/core_exp/{dataset}.parquet")
    parser.set_defaults(run=lambda args: print(inspect_profile(args.file)))


COMMANDS = (add_answer, add_predict, add_inspect)


def _add_study(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--budget", type=_budget, required=True, help="60pct of the full configuration's latency, or 200ms"
    )
    parser.add_argument("--controller", required=True, help="by its name in the configuration, such as lookup-mean")
    parser.add_argument("--dataset", help="whose lookup table, prompt style and reference count (default: the first)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="of the study (default: results)")
    parser.add_argument(
        "--config", type=Path, nargs="+", default=[Path("config.yaml")], help="of the study; later files override keys"
    )


def _budget(text: str) -> Budget:
    try:
        return Budget.parse(text)
    except AdaMolmoError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def answer(args: argparse.Namespace) -> None:
    """Prints the answer, the knobs, the stage times and whether the budget was met."""
    request = Request(args)
    with claim_device(request.settings.model.device):
        response, controller = request.answer()
    stages, budget_ms = response.stages, request.budget_ms
    verdict = "met" if stages.total_ms <= budget_ms else f"missed by {stages.total_ms - budget_ms:.1f} ms"
    parts = ("vision", "prefill", "controller", "decode")
    times = ", ".join(f"{part} {getattr(stages, f'{part}_ms'):.2f}" for part in parts)
    clock = "" if request.settings.latency.clock == "measured" else ", modelled"
    print(f"answer   {response.answer}")
    print(f"knobs    {response.config} (by {controller.name})")
    print(f"latency  {stages.total_ms:.2f} ms ({times}{clock})")
    print(f"budget   {budget_ms:.2f} ms, {verdict}")


def predict(args: argparse.Namespace) -> None:
    """Prints the choice as JSON; knobs that the controller leaves open until it has read the prompt are null."""
    request = Request(args)
    with claim_device(request.settings.model.device):
        if args.image is None:
            controller = request.load_controller()
            decision = _decide_without_request(controller, request.budget_ms)
        else:
            response, controller = request.answer()
            decision = Decision.of(response.config)
    top_k, num_active_blocks = decision.decoder or (None, None)
    print(
        json.dumps(
            {
                "controller": controller.name,
                "budget_ms": request.budget_ms,
                "tier": decision.tier,
                "top_k": top_k,
                "num_active_blocks": num_active_blocks,
            }
        )
    )


def _decide_without_request(controller: Controller, budget_ms: float) -> Decision:
    if reads := controller.reads(budget_ms):
        raise AdaMolmoError(
            f"controller '{controller.name}' reads {' and '.join(sorted(reads))}; expected IMAGE and QUESTION as well."
        )
    return controller.predict_stage1(Stage1Inputs(Limit(budget_ms)))


class Request:
    """What the arguments of a command say about one request.

    Raises AdaMolmoError when the dataset is not the study's, the image is unreadable, or a budget in percent lacks its
    reference.
    """

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.settings = StudyConfig.load(*args.config)
        datasets = self.settings.datasets
        self.dataset = args.dataset or next(iter(datasets))
        if self.dataset not in datasets:
            raise AdaMolmoError(f"--dataset is '{self.dataset}'; expected one of {', '.join(datasets)}.")
        if (args.image is None) != (args.question is None):
            raise AdaMolmoError("IMAGE was given without QUESTION; expected both or neither.")
        self.image = None if args.image is None else _open(args.image)
        self.budget_ms = args.budget.value if args.budget.unit == "ms" else args.budget.to_ms(self._reference_ms())

    def _reference_ms(self) -> float:
        path = self.args.results / "core_exp" / f"{self.dataset}.reference.json"
        return read_json(path, REFERENCE)["median_latency_ms"]

    def load_controller(self) -> Controller:
        device = describe_device(self.settings.model.device)
        context = controller_context(self.settings, self.args.results, self.dataset, device)
        return load_controller(self.args.controller, context)

    def answer(self) -> "tuple[Response, Controller]":
        """The answer after warm-up, as a request to a running service would be timed."""
        controller = self.load_controller()
        scores = self.args.results / "importance" / "scores.json"
        engine = load_engine(self.settings, self.args.results / "model", scores)
        style = self.settings.datasets[self.dataset].style

        def ask() -> "Response":
            return engine.answer(self.image, self.args.question, style, controller, self.budget_ms)

        if engine.clock.name == "measured":
            warm_up(lambda: ask().stages.total_ms, self.settings.latency.max_warmup)
        return ask(), controller


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise AdaMolmoError(f"{path}: cannot be read as an image ({error}).") from error
    return image


if __name__ == "__main__":
    main()
