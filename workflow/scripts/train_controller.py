"""Trains a controller on the profile of all datasets."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from adamolmo.budgets import Budget
from adamolmo.controllers.modules import controller_module
from adamolmo.controllers.training.overhead import overhead_ms
from adamolmo.files.core_exp import Reference
from adamolmo.files.documents import read_json
from adamolmo.files.schema import write_table
from adamolmo.files.training import TRAINING
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import load_engine, load_questions
from adamolmo.jobs.script import run
from adamolmo.jobs.training_data import add_training_data, load_training_set

TIMED_SAMPLES = 12  # requests that the controller's own time is measured on


def main() -> None:
    parser = job_parser(__doc__, "controller", "module", "model", "samples", "settings", "output")
    parser.add_argument("--references", type=Path, nargs="+", required=True)
    add_training_data(parser)
    args = parser.parse_args()
    settings = args.settings
    lowest, highest = (Budget.parse(text) for text in settings.training.budgets)
    references_ms = {path.name.split(".")[0]: read_json(path, Reference).median_latency_ms for path in args.references}
    budgets_ms = {name: (lowest.to_ms(ms), highest.to_ms(ms)) for name, ms in references_ms.items()}
    timed_dataset = args.samples.parent.name
    engine = load_engine(settings, args.model)
    questions, _ = load_questions(settings, engine, timed_dataset, args.samples)
    grid = settings.knobs.grid
    data = load_training_set(settings, args.model, args.core_exp, args.latency, args.features, budgets_ms)
    time_controller = partial(
        overhead_ms,
        engine,
        questions=replace(questions, samples=questions.samples[:TIMED_SAMPLES]),
        configs=[replace(grid.full, tier=tier) for tier in grid.tiers],
        budget_ms=references_ms[timed_dataset],
    )
    module = controller_module(args.module)
    log = module.train(args.controller, args.output, data, time_controller, settings.training, settings.seed)
    schema = getattr(module, "LOG", TRAINING)
    write_table(log, args.output / "training.parquet", schema, {"controller": args.controller, "seed": settings.seed})


if __name__ == "__main__":
    run(main)
