"""What every learned controller of a study adds to a request, with the overview crop reused and encoded twice.

    python benchmarks/controller_time.py [--config config.yaml] [--results results] [--samples 20] [--repeats 5]

Needs the study's trained controllers. Times are medians of paired differences to the same configuration (full knobs)
without a controller, in ms and in percent of that request.
"""

from argparse import Namespace
from statistics import median

from arguments import study_parser, write_record

from adamolmo.config import StudyConfig
from adamolmo.controllers.modules import load_controller
from adamolmo.controllers.registry import CONTROLLERS, PREDICTORS
from adamolmo.controllers.training.overhead import overhead_ms
from adamolmo.data.samples import read_samples, readable
from adamolmo.files.core_exp import Reference
from adamolmo.files.documents import read_json
from adamolmo.inference.controller import FixedController, Limit
from adamolmo.inference.device import claim_device
from adamolmo.jobs.loading import controller_context, load_engine, questions_of
from adamolmo.jobs.script import run


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--samples", type=int, default=20, help="questions of the first dataset")
    parser.add_argument("--repeats", type=int, default=5, help="requests per question, with and without a controller")
    args = parser.parse_args()
    settings = StudyConfig.load(*args.config)
    with claim_device(settings.model.device):
        record = measure(settings, args)
    print_table(record)
    write_record(record, args.output)


def measure(settings: StudyConfig, args: Namespace) -> dict:
    """The full configuration's latency, and what each trained controller adds to it, in ms."""
    dataset = next(iter(settings.datasets))
    samples, _ = readable(read_samples(args.results / "data" / dataset / "evaluation.parquet"), 1.0)
    questions = questions_of(settings, dataset, samples[: args.samples])
    reference = read_json(args.results / "core_exp" / f"{dataset}.reference.json", Reference)
    budget_ms, full = reference.median_latency_ms, settings.knobs.grid.full
    engine = load_engine(settings, args.results / "model")
    context = controller_context(settings, args.results / "model", dataset)
    fixed = FixedController(full)
    plain_ms = median(
        engine.answer(sample.open_image(), sample.question, questions.style, fixed, Limit(budget_ms)).stages.total_ms
        for sample in questions.samples * args.repeats
    )
    rows = []
    for name, registered in CONTROLLERS.items():
        if not (args.results / "controllers" / name / "policy.json").exists():
            continue
        controller = load_controller(name, registered.module, context)
        if name in PREDICTORS:
            controller.predictor.trust.budgets.fill_(1)  # so that what is timed is a prediction
        added_ms = {}
        for reuse in (True, False) if "overview" in controller.reads(Limit(budget_ms)) else (True,):
            engine.reuse_overview = reuse
            by_tier = overhead_ms(engine, controller, questions, [full], budget_ms, args.repeats)
            added_ms["reused" if reuse else "encoded_twice"] = by_tier[full.tier]
        engine.reuse_overview = True
        rows.append({"controller": name, "added_ms": added_ms})
    device = engine.device
    return {"device": device, "config": str(full), "plain_ms": plain_ms, "rows": rows}


def print_table(record: dict) -> None:
    plain_ms = record["plain_ms"]
    print(f"{record['config']}: {plain_ms:.2f} ms")
    print("| Controller | adds, ms | % | overview encoded twice, ms | % |\n| --- | --- | --- | --- | --- |")
    for row in record["rows"]:
        cells = [cell for ms in row["added_ms"].values() for cell in (f"{ms:.2f}", f"{100 * ms / plain_ms:.1f}")]
        print(f"| {row['controller']} | {' | '.join(cells + [''] * (4 - len(cells)))} |")


if __name__ == "__main__":
    run(main)
