"""What every learned controller of a study adds to a request, with the overview crop reused and encoded twice.

    python benchmarks/controller_time.py [--config config.yaml] [--results results] [--samples 20] [--repeats 5]

Needs the study's trained controllers. Times are medians of paired differences to the same configuration (full knobs)
without a controller, in ms and in percent of that request.
"""

import argparse
from pathlib import Path
from statistics import median

from adamolmo.config import StudyConfig
from adamolmo.controllers.registry import CONTROLLERS, load_controller
from adamolmo.data.samples import read_samples, readable
from adamolmo.files.core_exp import REFERENCE
from adamolmo.files.schema import read_json
from adamolmo.inference.device import claim_device
from adamolmo.jobs.loading import controller_context, load_engine, questions_of
from adamolmo.jobs.script import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, nargs="+", default=[Path("config.yaml")])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    settings = StudyConfig.load(*args.config)
    dataset = next(iter(settings.datasets))
    samples, _ = readable(read_samples(args.results / "data" / dataset / "evaluation.parquet"), 1.0)
    questions = questions_of(settings, dataset, samples[: args.samples])
    reference = read_json(args.results / "core_exp" / f"{dataset}.reference.json", REFERENCE)
    with claim_device(settings.model.device):
        from adamolmo.controllers.training.overhead import overhead_ms
        from adamolmo.inference.controller import FixedController, Limit

        engine = load_engine(settings, args.results / "model")
        context = controller_context(settings, args.results / "model", dataset)
        full = FixedController(settings.knobs.grid.full)
        budget_ms = reference["median_latency_ms"]
        plain_ms = median(
            engine.answer(sample.open_image(), sample.question, questions.style, full, Limit(budget_ms)).stages.total_ms
            for sample in questions.samples * args.repeats
        )
        print(f"{settings.knobs.grid.full}: {plain_ms:.2f} ms")
        print("| Controller | adds, ms | % | overview encoded twice, ms | % |\n| --- | --- | --- | --- | --- |")
        for name in CONTROLLERS:
            if not (args.results / "controllers" / name / "policy.json").exists():
                continue
            controller = load_controller(name, context)
            cells = []
            for reuse in (True, False) if "overview" in controller.reads(budget_ms) else (True,):
                engine.reuse_overview = reuse
                added_ms = overhead_ms(engine, controller, questions, full.config, budget_ms, args.repeats)
                cells += [f"{added_ms:.2f}", f"{100 * added_ms / plain_ms:.1f}"]
            engine.reuse_overview = True
            print(f"| {name} | {' | '.join(cells + [''] * (4 - len(cells)))} |")


if __name__ == "__main__":
    run(main)
