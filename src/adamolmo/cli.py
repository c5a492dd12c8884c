"""The command line of a finished study: `adamolmo answer`, `adamolmo predict` and `adamolmo inspect`.

A subcommand is a function that adds its parser and sets `run`; COMMANDS lists them.
"""

import argparse
import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import NoReturn

from PIL import Image

from adamolmo.budgets import Budget
from adamolmo.config import StudyConfig
from adamolmo.controllers.governor_file import Stream
from adamolmo.controllers.registry import find_controller
from adamolmo.data.images import read_image
from adamolmo.errors import AdaMolmoError, printable
from adamolmo.files.core_exp import Reference
from adamolmo.files.documents import read_json
from adamolmo.inference.device import claim_device
from adamolmo.jobs.script import run
from adamolmo.progress import note


def main(arguments: list[str] | None = None) -> None:
    sys.stdout.reconfigure(errors="backslashreplace")  # a terminal need not know all letters of an answer
    args = command_line().parse_args(arguments)
    run(lambda: args.run(args))


class CommandLine(ArgumentParser):
    """Its usage errors quote what was typed, and no more than that of it may reach a terminal."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def command_line() -> ArgumentParser:
    parser = CommandLine(prog="adamolmo", description="Latency-adaptive answers with MolmoE.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    return parser


def add_answer(commands) -> None:
    parser = commands.add_parser("answer", help="answer a question about an image under a latency budget")
    parser.add_argument("image", type=Path, metavar="IMAGE")
    parser.add_argument("question", metavar="QUESTION")
    _add_study(parser)
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="keeps a promise (60pct-p95, 60pct-mean) from call to call; JSON"
    )
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
    parser.set_defaults(run=inspect)


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
    fields = _request(args)
    settings, budget_ms = fields["settings"], fields["budget_ms"]
    _check_state(args, fields["stream"])
    with claim_device(settings.model.device):
        from adamolmo.jobs.answering import Request  # brings torch

        answered = Request(**fields).answer(args.state)
    response, slowdown = answered.response, answered.slowdown
    stages = response.stages
    verdict = "met" if stages.total_ms <= budget_ms else f"missed by {stages.total_ms - budget_ms:.1f} ms"
    parts = ("vision", "prefill", "controller", "decode")
    times = ", ".join(f"{part} {getattr(stages, f'{part}_ms'):.2f}" for part in parts)
    clock = "" if settings.latency.clock == "measured" else ", modelled"
    print(f"answer   {printable(response.answer)}")
    print(f"knobs    {response.config} (by {args.controller})")
    print(f"latency  {stages.total_ms:.2f} ms ({times}{clock})")
    print(f"budget   {budget_ms:.2f} ms, {verdict}")
    if slowdown is not None and abs(100 * (slowdown - 1)) > settings.latency.drift_limit_pct:
        print(f"device   takes {slowdown:.2f} times as long as during the profile, from which tables and budgets are")
    if args.budget.promise is not None:
        print(f"promise  {args.budget.label()}: margin {answered.governor.state.margin:+.3f} for the next request")


def predict(args: argparse.Namespace) -> None:
    """Prints the choice as JSON; knobs that the controller leaves open until it has read the prompt are null."""
    fields = _request(args)
    with claim_device(fields["settings"].model.device):
        from adamolmo.jobs.answering import Request  # brings torch

        decision = Request(**fields).decide()
    top_k, num_active_blocks = decision.decoder or (None, None)
    chosen = {"tier": decision.tier, "top_k": top_k, "num_active_blocks": num_active_blocks}
    reference, budget_ms = fields["reference"], fields["budget_ms"]
    if reference is not None and budget_ms < reference.lowest_median_latency_ms:
        fastest = f"the fastest takes {reference.lowest_median_latency_ms:.3g} ms"
        note(f"no configuration meets {args.budget} ({budget_ms:.3g} ms) by the profile: {fastest}")
    print(json.dumps({"controller": args.controller, "budget_ms": budget_ms, **chosen}))


def inspect(args: argparse.Namespace) -> None:
    """Prints the summary of a profile."""
    from adamolmo.core_exp.inspection import inspect_profile  # brings pandas

    print("\n".join(map(printable, inspect_profile(args.file).split("\n"))))


def _request(args: argparse.Namespace) -> dict[str, object]:
    """The fields of a `jobs.answering.Request`, with all that can be wrong found before a device is waited for.

    Raises AdaMolmoError when the dataset is not the study's, the controller is unknown, the image is unreadable, or a
    budget in percent lacks its reference.
    """
    settings = StudyConfig.load(*args.config)
    datasets = settings.datasets
    dataset = args.dataset or next(iter(datasets))
    if dataset not in datasets:
        raise AdaMolmoError(f"--dataset is '{dataset}'; expected one of {', '.join(datasets)}.")
    if (args.image is None) != (args.question is None):
        raise AdaMolmoError("IMAGE was given without QUESTION; expected both or neither.")
    if args.question is not None and args.question != printable(args.question):
        raise AdaMolmoError(f"QUESTION is '{args.question}'; expected text in UTF-8, without control characters.")
    reference = _reference(args, dataset)
    return {
        "settings": settings,
        "results": args.results,
        "module": find_controller(args.controller, settings.own_controllers).module,
        "stream": Stream(args.controller, dataset, args.budget),
        "budget_ms": args.budget.value if reference is None else args.budget.to_ms(reference.median_latency_ms),
        "reference": reference,
        "image": None if args.image is None else _read(args.image, settings.samples.max_pixels),
        "question": args.question,
    }


def _check_state(args: argparse.Namespace, stream: Stream) -> None:
    """Raises AdaMolmoError when there is nothing to keep, or the file is another stream's."""
    if args.state is None:
        return
    if args.budget.promise is None:
        raise AdaMolmoError(
            f"--state keeps a promise from call to call, and --budget {args.budget} promises nothing; expected such as "
            f"{args.budget}-p95 or {args.budget}-mean."
        )
    stream.read(args.state)


def _reference(args: argparse.Namespace, dataset: str) -> Reference | None:
    """None where there is none and nothing depends on it."""
    path = args.results / "core_exp" / f"{dataset}.reference.json"
    return None if args.budget.unit == "ms" and not path.exists() else read_json(path, Reference)


def _read(path: Path, max_pixels: int) -> Image.Image:
    try:
        file = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise AdaMolmoError(f"{path}: cannot be read as an image ({error}).") from error
    return read_image(file, f"{path}: cannot be read as an image", max_pixels)


if __name__ == "__main__":
    main()
