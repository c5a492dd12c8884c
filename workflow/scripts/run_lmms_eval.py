"""Evaluates one task of lmms-eval: a controller answers its documents under a budget."""

from pathlib import Path

from adamolmo.evaluation.cell_summary import summarise_requests
from adamolmo.files.core_exp import Reference
from adamolmo.files.documents import read_json, write_json
from adamolmo.files.governor import GovernedStream
from adamolmo.files.lmms_eval import ANSWERS, Benchmark
from adamolmo.files.schema import write_table
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import energy_counter, load_engine
from adamolmo.jobs.script import run
from adamolmo.lmms_eval.environment import harness_version, quiet_harness
from adamolmo.statistics.intervals import Resampling

quiet_harness()  # before lmms-eval is imported

from adamolmo.lmms_eval.model import AdaMolmo  # noqa: E402
from adamolmo.lmms_eval.run import run_task  # noqa: E402
from adamolmo.lmms_eval.setting import load_setting  # noqa: E402


def main() -> None:
    shared = ("controller", "module", "budget", "model", "scores", "reference", "settings", "summary", "table")
    parser = job_parser(__doc__, *shared)
    parser.add_argument("--task", required=True)
    parser.add_argument("--data", type=Path, help="directory of prepared task data")
    args = parser.parse_args()
    settings, task = args.settings, args.settings.lmms_eval.tasks[args.task]
    engine = load_engine(settings, args.model, args.scores, energy_counter(settings))
    setting = load_setting(settings, args.model, task.profile, args.controller, args.module, args.budget, task.style)
    governor, start = setting.governor, setting.governor.state
    model = AdaMolmo(engine, lambda task: setting, settings.latency.max_warmup)
    resampling = Resampling(settings.bootstrap.resamples, settings.seed)
    result = run_task(model, args.task, args.data, settings.lmms_eval.limit, resampling, settings.samples.max_pixels)
    device = engine.device
    reference = read_json(args.reference, Reference)
    write_table(result.answers, args.table, ANSWERS, {"resampled": result.resampled})
    benchmark = Benchmark(
        **dict(summarise_requests(result.answers, governor.budget_ms, resampling)),
        task=args.task,
        controller=args.controller,
        budget=str(args.budget),
        profile=task.profile,
        metrics=result.metrics,
        feasible=governor.budget_ms >= reference.lowest_median_latency_ms,
        governor=GovernedStream(start=start, end=governor.state),
        device=device,
        clock=settings.latency.clock,
        lmms_eval_version=harness_version(),
    )
    write_json(benchmark, args.summary)


if __name__ == "__main__":
    run(main)
