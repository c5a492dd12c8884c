"""What would governors have kept on the machine as it was? Replays a finished, measured study; no model runs.

    python benchmarks/replay_governor.py [--config config.yaml changed.yaml] [--results results]
        [--budgets 70pct-p95 65pct-mean]

Every cell's measured latencies, each by what the profile lets expect of that request in its configuration, are a trace
of the machine's speed and of how requests scatter. Tables answer the cell's questions again under every budget: what
they choose takes what the profile lets expect, times the trace. Three governors are compared:

- the margin alone, from a start that takes single requests to be as the profile's medians and estimates are;
- the same from a start that knows how single requests scatter;
- the governor: that start, and the slowdown followed from request to request.

The first requests stand for the speed probe. Traces on which even the cheapest configuration breaks the promise are
left out: no governor keeps it there. Deciding takes no time here.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from arguments import study_parser, write_record
from pandas import DataFrame

from adamolmo.budgets import ALLOWED_LATE, Budget
from adamolmo.config import StudyConfig
from adamolmo.controllers.base import ControllerContext
from adamolmo.controllers.governor import Governor, load_governor
from adamolmo.controllers.modules import load_controller
from adamolmo.controllers.registry import find_controller
from adamolmo.controllers.response import spent
from adamolmo.controllers.roles import ORACLE
from adamolmo.controllers.table import EXPECTED_LATENCY, load_table, table_path
from adamolmo.core_exp import expected_latency
from adamolmo.core_exp.reading import read_profiles
from adamolmo.files.columns import KNOBS
from adamolmo.files.core_exp import CORE_EXP, Reference
from adamolmo.files.documents import read_json, write_json
from adamolmo.files.evaluation import EVALUATION
from adamolmo.files.governor import ConfigLatency, config_latency_path
from adamolmo.files.lookup import ExpectedLatencyFile
from adamolmo.files.schema import read_table
from adamolmo.inference.controller import Controller, RequestSize, Stage1Inputs
from adamolmo.jobs.loading import controller_context
from adamolmo.jobs.script import run
from adamolmo.knobs import KnobConfig

CONTROLLERS = ("lookup-mean", "lookup-mean-sized")
# name -> (whether its start knows the scatter, whether the slowdown is followed)
GOVERNORS = {"margin alone": (False, False), "scatter known": (True, False), "governor": (True, True)}
FIRST = 5  # requests that stand for the speed probe
OF_TRACE = ["sample_id", *KNOBS, "latency_ms", "controller_ms", "num_crops", "input_tokens"]


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--budgets", nargs="+", default=["70pct-p95", "80pct-p95", "90pct-p95", "65pct-mean"])
    args = parser.parse_args()
    settings, found = StudyConfig.load(*args.config), defaultdict(list)
    for dataset in settings.datasets:
        with tempfile.TemporaryDirectory() as directory:
            replay = Replay(settings, args.results, dataset, Path(directory))
            for trace in replay.traces():
                for budget in map(Budget.parse, args.budgets):
                    for key, outcome in replay.outcomes(trace, budget):
                        found[key].append(outcome)
    record = {" ".join(key): summarise(outcomes) for key, outcomes in found.items()}
    for name, row in record.items():
        print(f"{name:<46}" + ", ".join(f"{key} {value:.1f}" for key, value in row.items()))
    write_record(record, args.output)


@dataclass(frozen=True)
class Trace:
    """Of one cell: its questions, and the latency measured by that expected, [requests]."""

    sample_ids: list[str]
    pace: np.ndarray


class Replay:
    """One dataset of the study; what its tables and governors look up is written to `directory`."""

    def __init__(self, settings: StudyConfig, results: Path, dataset: str, directory: Path):
        self.results, self.dataset, self.grid = results, dataset, settings.knobs.grid
        self.reference = read_json(results / "core_exp" / f"{dataset}.reference.json", Reference)
        entries = load_table(results / table_path("mean", dataset)).entries
        self.accuracy = {entry.config: entry.accuracy for entry in entries}
        path = results / "core_exp" / f"{dataset}.parquet"
        profile, shared = read_profiles([path], expected_latency.COLUMNS)
        of_model = (settings.model.fixed_prefix_layers, settings.max_new_tokens)
        document = expected_latency.fit(profile, shared, self.grid, *of_model)
        context = replace(controller_context(settings, results / "model", dataset), lookup_pooled=False)
        self.contexts = {
            known: self._write(replace(context, results=directory / str(known)), profile, document, known)
            for known in (False, True)
        }
        path = self.contexts[True].results / table_path(EXPECTED_LATENCY, dataset)
        self.expected = expected_latency.load(path, self.grid)
        self.places = {config: place for place, config in enumerate(self.grid.configs)}
        self.sizes = self._sizes()

    def _write(
        self, context: ControllerContext, profile: DataFrame, document: ExpectedLatencyFile, scatter_known: bool
    ) -> ControllerContext:
        """What is looked up in the context, where governors are to know the scatter, or not."""
        scatter_pct = document.scatter_pct if scatter_known else 0.0
        groups = profile.groupby([*KNOBS], observed=True)["latency_ms"]
        spent_by = {str(KnobConfig(*knobs)): spent(ms.to_numpy(float), scatter_pct / 100) for knobs, ms in groups}
        table_file = table_path("mean", self.dataset)
        names = (table_file, table_path(EXPECTED_LATENCY, self.dataset), config_latency_path(self.dataset))
        table, expected, latency = (context.results / name for name in names)
        for path in (table, expected, latency):
            path.parent.mkdir(parents=True)
        table.write_bytes((self.results / table_file).read_bytes())
        write_json(document.model_copy(update={"scatter_pct": scatter_pct}), expected)
        write_json(ConfigLatency(configurations=spent_by), latency)
        return context

    def _sizes(self) -> dict[str, RequestSize]:
        """Of every question of the evaluation split."""
        path = self.results / "core_exp_evaluation" / f"{self.dataset}.parquet"
        table, _ = read_table(path, CORE_EXP, ["sample_id", "tier", "num_crops", "input_tokens"])
        by_tier = table.astype({"tier": str}).drop_duplicates(["sample_id", "tier"]).set_index(["sample_id", "tier"])
        return {
            sample: RequestSize(*(tuple(rows.droplevel(0).loc[[*self.grid.tiers], of]) for of in by_tier))
            for sample, rows in by_tier.groupby(level=0)
        }

    def traces(self) -> Iterator[Trace]:
        for path in sorted((self.results / "eval" / self.dataset).glob("*/*.parquet")):
            if path.parent.name != ORACLE:
                table, _ = read_table(path, EVALUATION, OF_TRACE)
                configs = [KnobConfig(*row) for row in table[[*KNOBS]].itertuples(index=False, name=None)]
                sizes = zip(configs, table["num_crops"], table["input_tokens"], strict=True)
                expected_ms = [self.expected.of_request(self.places[config], *size) for config, *size in sizes]
                pace = (table["latency_ms"] - table["controller_ms"]).to_numpy(float) / expected_ms
                yield Trace(table["sample_id"].tolist(), pace)

    def outcomes(self, trace: Trace, budget: Budget) -> Iterator[tuple[tuple, tuple[float, float]]]:
        """(budget, controller, governor), and what became of the promise and the accuracy; nothing where even the
        cheapest configuration breaks the promise."""
        budget_ms = budget.to_ms(self.reference.median_latency_ms)
        sizes = [self.sizes[sample] for sample in trace.sample_ids]
        cheapest_ms = [self.expected(of.num_crops, of.input_tokens).min() for of in sizes] * trace.pace
        if kept(cheapest_ms, budget_ms, budget) > (1.0 if budget.promise == "mean" else ALLOWED_LATE[budget.promise]):
            return
        for controller in CONTROLLERS:
            for name, (scatter_known, followed) in GOVERNORS.items():
                context = self.contexts[scatter_known]
                loaded = load_controller(controller, find_controller(controller, {}).module, context)
                governor = load_governor(loaded, budget, budget_ms, context)
                governor.begin_at(float(np.median(trace.pace[:FIRST])))
                latency_ms, accuracy = self._stream(loaded, governor, sizes, trace.pace, followed)
                yield (str(budget), controller, name), (kept(latency_ms, budget_ms, budget), accuracy)

    def _stream(
        self, controller: Controller, governor: Governor, sizes: list[RequestSize], paces: np.ndarray, followed: bool
    ) -> tuple[np.ndarray, float]:
        """Latency in ms of every request, and the table's mean accuracy of what was chosen."""
        latencies_ms, accuracies = [], []
        for size, pace in zip(sizes, paces, strict=True):
            decision = controller.predict_stage1(Stage1Inputs(governor.limit, size=size))
            config = KnobConfig(decision.tier, *decision.decoder)
            expected_ms = self.expected(size.num_crops, size.input_tokens)[self.places[config]]
            governor.observe(expected_ms * pace, expected_ms if followed and governor.expected_ms else None)
            latencies_ms.append(expected_ms * pace)
            accuracies.append(self.accuracy[config])
        return np.array(latencies_ms), float(np.mean(accuracies))


def kept(latency_ms: np.ndarray, budget_ms: float, budget: Budget) -> float:
    """The mean by the budget, or the share of late requests."""
    return float(np.mean(latency_ms) / budget_ms if budget.promise == "mean" else np.mean(latency_ms > budget_ms))


def summarise(outcomes: list[tuple[float, float]]) -> dict[str, float]:
    """In percent: what was kept on average over the traces, its standard deviation, and the tables' accuracy."""
    kept_pct, accuracy_pct = 100 * np.array(outcomes).T
    return {
        "traces": len(outcomes),
        "kept_pct": float(kept_pct.mean()),
        "sd_pct": float(kept_pct.std()),
        "accuracy_pct": float(accuracy_pct.mean()),
    }


if __name__ == "__main__":
    run(main)
