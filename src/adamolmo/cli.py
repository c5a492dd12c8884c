"""The command line of a finished study: `adamolmo answer`, `predict`, `show` and others.

A subcommand is a function that adds its parser and sets `run`; COMMANDS lists them.
"""

import argparse
import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from adamolmo.backend.prepared import inspect_manifest
from adamolmo.budgets import Budget
from adamolmo.errors import AdaMolmoError, printable
from adamolmo.jobs.caches import use_writable_caches
from adamolmo.jobs.script import run
from adamolmo.study.bundle import run_again, verify_bundle, write_bundle
from adamolmo.study.finished import Study


def main(arguments: list[str] | None = None) -> None:
    sys.stdout.reconfigure(errors="backslashreplace")  # a terminal need not know all letters of an answer
    args = command_line().parse_args(arguments)
    with TemporaryDirectory(prefix="adamolmo-") as caches:
        run(lambda: (use_writable_caches(Path(caches)), args.run(args)))


class CommandLine(ArgumentParser):
    """Its usage errors quote what was typed, and no more than that of it may reach a terminal."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def command_line() -> ArgumentParser:
    parser = CommandLine(prog="adamolmo", description="Latency-adaptive answers about images.")
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


def add_show(commands) -> None:
    parser = commands.add_parser("show", help="print requests of a cell: question, reference, answer, knobs, times")
    parser.add_argument("cell", metavar="CELL", help="DATASET/CONTROLLER/BUDGET, such as text_vqa/lookup-mean/60pct")
    parser.add_argument("--wrong", action="store_true", help="only those that were answered wrong")
    parser.add_argument("--late", action="store_true", help="only those that took longer than the budget")
    parser.add_argument("--disagree", action="store_true", help="only those that other controllers answered otherwise")
    parser.add_argument("--number", type=int, default=5, metavar="N", help="how many at most (default: 5)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="of the study (default: results)")
    parser.set_defaults(run=show)


def add_inspect(commands) -> None:
    parser = commands.add_parser("inspect", help="summarise a profile, or a prepared model and its self-check")
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="results/core_exp/{dataset}.parquet or results/model/manifest.json"
    )
    parser.set_defaults(run=inspect)


def add_bundle(commands) -> None:
    parser = commands.add_parser("bundle", help="write the study as one archive: results, code, environment, checksums")
    parser.add_argument("archive", type=Path, metavar="ARCHIVE", help="the zip file to write")
    parser.add_argument("--study", type=Path, default=Path(), help="where the study ran (default: here)")
    parser.add_argument("--code", type=Path, default=Path(), help="the repository, with its Snakefile (default: here)")
    parser.set_defaults(run=bundle)


def add_verify(commands) -> None:
    parser = commands.add_parser("verify", help="check a bundle's files, and run its study again")
    parser.add_argument("archive", type=Path, metavar="ARCHIVE")
    parser.add_argument("--again", type=Path, metavar="FOLDER", help="runs the study there and compares (empty folder)")
    parser.add_argument("--cores", type=int, default=1, metavar="N", help="for --again (default: 1)")
    parser.set_defaults(run=verify)


COMMANDS = (add_answer, add_predict, add_show, add_inspect, add_bundle, add_verify)


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
    study = Study(args.results, args.config)
    found = study.answer(args.image, args.question, args.budget, args.controller, args.dataset, args.state)
    from adamolmo.evaluation.serving import in_words  # brings numpy, which may use one thread once a device is claimed

    verdict = f"missed by {found.latency_ms - found.budget_ms:.1f} ms" if found.late else "met"
    parts = ("vision", "prefill", "controller", "decode")
    times = ", ".join(f"{part} {getattr(found.stages, f'{part}_ms'):.2f}" for part in parts)
    clock = "" if study.settings.latency.clock == "measured" else ", modelled"
    print(f"answer   {printable(found.text)}")
    print(f"knobs    {found.config} (by {args.controller})")
    print(f"latency  {found.latency_ms:.2f} ms ({times}{clock})")
    print(f"serving  {in_words(found.ttft_ms, found.tpot_ms, found.energy_j)}")
    print(f"budget   {found.budget_ms:.2f} ms, {verdict}")
    if found.slowdown is not None and abs(100 * (found.slowdown - 1)) > study.settings.latency.drift_limit_pct:
        times_as_long = f"{found.slowdown:.2f} times as long as during the profile"
        print(f"device   takes {times_as_long}, from which tables and budgets are")
    if found.margin is not None:
        print(f"promise  {args.budget.label()}: margin {found.margin:+.3f} for the next request")


def predict(args: argparse.Namespace) -> None:
    """Prints the choice as JSON; knobs that the controller leaves open until it has read the prompt are null."""
    study = Study(args.results, args.config)
    decision = study.predict(args.budget, args.controller, args.dataset, args.image, args.question)
    top_k, num_active_blocks = decision.decoder or (None, None)
    chosen = {"tier": decision.tier, "top_k": top_k, "num_active_blocks": num_active_blocks}
    budget_ms = study.budget_ms(args.budget, args.dataset)
    print(json.dumps({"controller": args.controller, "budget_ms": budget_ms, **chosen}))


def show(args: argparse.Namespace) -> None:
    """Prints requests of a cell."""
    from adamolmo.study.showing import show_requests  # brings pandas

    names = args.cell.split("/")
    if len(names) != 3:
        raise AdaMolmoError(f"CELL is '{args.cell}'; expected DATASET/CONTROLLER/BUDGET.")
    wanted = [
        name for name, asked in (("wrong", args.wrong), ("late", args.late), ("disputed", args.disagree)) if asked
    ]
    print(show_requests(Study(args.results).answers(*names), wanted, args.number))


def inspect(args: argparse.Namespace) -> None:
    """Prints the summary of a profile (Parquet), or of a prepared model (JSON)."""
    if args.file.suffix == ".json":
        text = inspect_manifest(args.file)
    else:
        from adamolmo.core_exp.inspection import inspect_profile  # brings pandas

        text = inspect_profile(args.file)
    print("\n".join(map(printable, text.split("\n"))))


def bundle(args: argparse.Namespace) -> None:
    """Prints what became of it."""
    left_out = write_bundle(args.study, args.code, args.archive)
    print(f"{args.archive}: {args.archive.stat().st_size / 1e6:.1f} MB")
    for name in left_out:
        print(f"left out: {name}")


def verify(args: argparse.Namespace) -> None:
    """Prints how many files are as they were."""
    print(f"{args.archive}: {verify_bundle(args.archive)} files are as its manifest says")
    if args.again is None:
        return
    number, different = run_again(args.archive, args.again, args.cores)
    if different:
        raise AdaMolmoError(f"{args.again}: {len(different)} of {number} results differ, such as {different[0]}.")
    print(f"{args.again}: all {number} results are the same to the byte")


if __name__ == "__main__":
    main()
