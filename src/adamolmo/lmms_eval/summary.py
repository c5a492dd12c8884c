"""All benchmark cells in one table, and their controllers compared on the same documents."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import read_json
from adamolmo.files.lmms_eval import ANSWERS, BENCHMARK_COMPARISONS, Benchmark
from adamolmo.files.schema import read_table
from adamolmo.statistics.intervals import percentile_interval


def collect(paths: Iterable[str | Path]) -> pd.DataFrame:
    """One row per task, controller, budget and metric, with the columns of `schema.BENCHMARKS`.

    Raises AdaMolmoError when cells come from two devices or clocks: their latencies cannot stand in one table.
    """
    cells = {Path(path): read_json(path, Benchmark) for path in paths}
    if not cells:
        raise AdaMolmoError("no benchmark to collect; expected at least one entry in each list of lmms_eval.")
    (first, expected), *others = cells.items()
    for path, cell in others:
        for key in ("clock",) if expected.clock == "modelled" else ("clock", "device"):
            found, wanted = getattr(cell, key), getattr(expected, key)
            if found != wanted:
                raise AdaMolmoError(
                    f"{path}: was evaluated with {key} {found} but {first} with {wanted}; "
                    f"expected one {key} in a table."
                )
    return pd.DataFrame([row for cell in cells.values() for row in _rows(cell)])


def _rows(cell: Benchmark) -> Iterable[dict]:
    shared = {key: getattr(cell, key) for key in ("task", "controller", "budget", "budget_ms")}
    shared["num_documents"] = cell.num_samples
    for column, interval in {"latency_p50_ms": cell.latency_ms.p50, "violation_rate": cell.violation_rate}.items():
        shared |= {column: interval.value, f"{column}_low": interval.low, f"{column}_high": interval.high}
    for metric, found in cell.metrics.items():
        has_interval = found.no_interval is None
        yield {
            **shared,
            "metric": metric,
            "value": found.value,
            "value_low": found.low if has_interval else found.value,
            "value_high": found.high if has_interval else found.value,
            "has_interval": has_interval,
            "higher_is_better": found.higher_is_better,
        }


def compare(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Every two controllers of a task and budget, with the columns of `schema.BENCHMARK_COMPARISONS`.

    Both saw the same resamples of the same images, so what makes a document hard for both cancels. Metrics without
    resamples are left out. Raises AdaMolmoError when two cells have different documents or resamples.
    """
    groups: dict[tuple[str, str], list[Path]] = {}
    cells = {Path(path): read_json(path, Benchmark) for path in paths}
    for path, cell in cells.items():
        groups.setdefault((cell.task, cell.budget), []).append(path)
    rows = []
    for (task, budget), members in groups.items():
        answers = {path: read_table(path.with_suffix(".parquet"), ANSWERS, ["doc_id", "image_id"]) for path in members}
        for one, other in combinations(members, 2):
            _check_same_documents(one, other, answers)
            for metric, values in answers[one][1]["resampled"].items():
                names = {"controller": cells[one].controller, "other": cells[other].controller}
                difference = cells[one].metrics[metric].value - cells[other].metrics[metric].value
                drawn = np.subtract(values, answers[other][1]["resampled"][metric])
                interval = percentile_interval(difference, drawn)
                rows.append(
                    {"task": task, "budget": budget, "metric": metric, **names, "difference": interval.value}
                    | {"difference_low": interval.low, "difference_high": interval.high}
                )
    return pd.DataFrame(rows, columns=list(BENCHMARK_COMPARISONS.columns))


def _check_same_documents(one: Path, other: Path, answers: dict) -> None:
    (a, resampled_a), (b, resampled_b) = answers[one], answers[other]
    sizes_a, sizes_b = ({m: len(v) for m, v in r["resampled"].items()} for r in (resampled_a, resampled_b))
    if not a.equals(b) or sizes_a != sizes_b:
        raise AdaMolmoError(
            f"{one} and {other} answered different documents or were resampled differently; a paired comparison "
            "expects the same of both: remake one of them."
        )


def as_markdown(table: pd.DataFrame, budgets: Sequence[str]) -> str:
    """The table for people: one row per task, metric and controller, one column per budget."""
    lines = [
        "# Benchmarks by lmms-eval",
        "",
        "The task's metric with its 95 % bootstrap interval (clustered by image), and below it the median latency and "
        "the share of requests above the budget.",
        "",
        "| Task | Metric | Controller | " + " | ".join(budgets) + " |",
        "|---" * (3 + len(budgets)) + "|",
    ]
    ordered = table.sort_values(["task", "metric", "controller"])
    for (task, metric, controller), cells in ordered.groupby(["task", "metric", "controller"], sort=False):
        by_budget = {cell.budget: _shown(cell) for cell in cells.itertuples()}
        shown = " | ".join(by_budget.get(budget, "") for budget in budgets)
        lines.append(f"| {task} | {metric} | {controller} | {shown} |")
    return "\n".join(lines) + "\n"


def _shown(cell) -> str:
    interval = f"[{cell.value_low:.4g}, {cell.value_high:.4g}]" if cell.has_interval else "(no interval)"
    late = f"{100 * cell.violation_rate:.3g} % over {cell.budget_ms:.4g} ms"
    return f"{cell.value:.4g} {interval}<br>{cell.latency_p50_ms:.4g} ms, {late}"
