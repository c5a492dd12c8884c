"""Trains a controller on the profile of all datasets."""

from functools import partial
from importlib import import_module
from pathlib import Path

from adamolmo.budgets import Budget
from adamolmo.controllers.registry import PREDICTORS, find_controller
from adamolmo.core_exp import expected_latency
from adamolmo.core_exp.reading import read_profiles
from adamolmo.data.samples import read_samples, readable
from adamolmo.files.core_exp import REFERENCE
from adamolmo.files.schema import read_json, write_table
from adamolmo.files.training import PREDICTOR_TRAINING, TRAINING
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import claimed_engine, describe_study
from adamolmo.jobs.script import run

KNOBS = ["tier", "top_k", "num_active_blocks"]
COLUMNS = ["dataset", "sample_id", "image_id", *KNOBS, "accuracy", "latency_ms", "flops", "num_crops", "input_tokens"]
TIMED_SAMPLES = 12  # requests that the controller's own time is measured on


def main() -> None:
    parser = job_parser(__doc__, "controller", "model", "samples", "settings", "output")
    parser.add_argument("--core-exp", type=Path, nargs="+", required=True)
    parser.add_argument("--references", type=Path, nargs="+", required=True)
    parser.add_argument("--latency", type=Path, required=True, help="the expected latencies of all datasets")
    parser.add_argument("--features", type=Path, nargs="+", required=True)
    args = parser.parse_args()
    settings, model = args.settings, args.settings.model
    core_exp, shared = read_profiles(args.core_exp, COLUMNS)
    lowest, highest = (Budget.parse(text) for text in settings.training.budgets)
    references_ms = {
        path.name.split(".")[0]: read_json(path, REFERENCE)["median_latency_ms"] for path in args.references
    }
    timed_dataset = args.samples.parent.name
    timed, _ = readable(read_samples(args.samples), settings.core_exp.max_failed_fraction)
    with claimed_engine(settings, args.model) as engine:
        import torch

        from adamolmo.controllers.training.features import Features, FixedPrefix
        from adamolmo.controllers.training.overhead import overhead_ms
        from adamolmo.controllers.training.reward import Profile
        from adamolmo.controllers.training.training_set import TrainingSet

        study = describe_study(settings, args.model, shared["device"])
        configs, tiers = study.grid.configs, study.grid.tiers
        expected = {name: expected_latency.load(args.latency, name, configs, tiers) for name in references_ms}
        data = TrainingSet.join(
            study,
            Profile.from_frame(
                core_exp,
                study.grid,
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
            samples=timed[:TIMED_SAMPLES],
            style=settings.datasets[timed_dataset].style,
            config=study.grid.full,
            budget_ms=references_ms[timed_dataset],
        )
        log = import_module(find_controller(args.controller).module).train(
            args.controller, args.output, data, time_controller, settings.training, settings.seed
        )
    schema = PREDICTOR_TRAINING if args.controller in PREDICTORS else TRAINING
    write_table(log, args.output / "training.parquet", schema, {"controller": args.controller, "seed": settings.seed})


if __name__ == "__main__":
    run(main)
