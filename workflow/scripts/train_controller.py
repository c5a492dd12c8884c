"""Trains a controller on the profile of all datasets."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from adamolmo.budgets import Budget
from adamolmo.controllers.modules import controller_module
from adamolmo.controllers.training.features import Features, FixedPrefix
from adamolmo.controllers.training.overhead import overhead_ms
from adamolmo.controllers.training.reward import COLUMNS, Profile
from adamolmo.controllers.training.training_set import TrainingSet
from adamolmo.core_exp import expected_latency
from adamolmo.core_exp.reading import read_profiles
from adamolmo.files.core_exp import Reference
from adamolmo.files.documents import read_json
from adamolmo.files.schema import write_table
from adamolmo.files.training import TRAINING
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import load_engine, load_questions, study_fingerprint
from adamolmo.jobs.script import run

TIMED_SAMPLES = 12  # requests that the controller's own time is measured on


def main() -> None:
    parser = job_parser(__doc__, "controller", "module", "model", "samples", "settings", "output")
    parser.add_argument("--core-exp", type=Path, nargs="+", required=True)
    parser.add_argument("--references", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--latency", type=Path, nargs="+", required=True, help="expected latencies, one file per dataset"
    )
    parser.add_argument("--features", type=Path, nargs="+", required=True)
    args = parser.parse_args()
    settings, model = args.settings, args.settings.model
    core_exp, shared = read_profiles(args.core_exp, COLUMNS)
    lowest, highest = (Budget.parse(text) for text in settings.training.budgets)
    references_ms = {path.name.split(".")[0]: read_json(path, Reference).median_latency_ms for path in args.references}
    timed_dataset = args.samples.parent.name
    questions, _ = load_questions(settings, timed_dataset, args.samples)
    engine = load_engine(settings, args.model)
    fingerprint = study_fingerprint(settings, args.model, shared["device"])
    expected = {path.stem: expected_latency.load(path, fingerprint.grid) for path in args.latency}
    data = TrainingSet.join(
        fingerprint,
        Profile.from_frame(
            core_exp,
            fingerprint.grid,
            {name: (lowest.to_ms(ms), highest.to_ms(ms)) for name, ms in references_ms.items()},
            expected,
        ),
        {path.stem: Features(path) for path in args.features},
        expected,
        FixedPrefix.load(args.model, model.fixed_prefix_layers, getattr(torch, model.dtype), model.device),
    )
    time_controller = partial(
        overhead_ms,
        engine,
        questions=replace(questions, samples=questions.samples[:TIMED_SAMPLES]),
        config=fingerprint.grid.full,
        budget_ms=references_ms[timed_dataset],
    )
    module = controller_module(args.module)
    log = module.train(args.controller, args.output, data, time_controller, settings.training, settings.seed)
    schema = getattr(module, "LOG", TRAINING)
    write_table(log, args.output / "training.parquet", schema, {"controller": args.controller, "seed": settings.seed})


if __name__ == "__main__":
    run(main)
