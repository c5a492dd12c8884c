"""One task through lmms-eval's own evaluation: its metrics with intervals, and every answer."""

import argparse
import json
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from lmms_eval.evaluator import simple_evaluate

from adamolmo.data.images import MOST_PIXELS
from adamolmo.errors import AdaMolmoError
from adamolmo.files.lmms_eval import Metric
from adamolmo.lmms_eval.data import find_prepared, scored_once, task_data
from adamolmo.lmms_eval.model import AdaMolmo
from adamolmo.lmms_eval.resampling import resampled_values
from adamolmo.lmms_eval.stock import load_task
from adamolmo.statistics.intervals import Resampling, percentile_interval


@dataclass(frozen=True)
class TaskResult:
    """What a task gave.

    Attributes:
        metrics: what each metric came to.
        resampled: metric -> its values on the bootstrap resamples.
        answers: one row per document, the columns of the table `answers`.
    """

    metrics: dict[str, Metric]
    resampled: dict[str, list[float]]
    answers: pd.DataFrame


def run_task(
    model: AdaMolmo,
    task: str,
    data: Path | None,
    limit: int | None,
    resampling: Resampling,
    max_pixels: int = MOST_PIXELS,
) -> TaskResult:
    """Evaluates an unmodified task.

    Args:
        data: directory of prepared task data: no network then; None lets lmms-eval fetch what it needs.
        limit: the first documents only; None for all.
        max_pixels: larger images are refused.

    Raises AdaMolmoError for an unknown task, missing data, and documents that the task or the model cannot use.
    """
    if data is not None:
        find_prepared(data, task)
    with tempfile.TemporaryDirectory() as submissions:
        args = _arguments(submissions)
        with task_data(data, max_pixels=max_pixels), scored_once():
            try:
                loaded = load_task(task)
                results = _evaluate(model, loaded, args, limit)
            except (AssertionError, KeyError) as error:  # what the tasks' own code raises for documents it cannot use
                reason = f"column {error} is missing" if isinstance(error, KeyError) else str(error)
                raise AdaMolmoError(f"task '{task}': its documents do not fit its code: {reason}.") from error
            return _collect(model, task, loaded, results, args, data is not None, resampling)


def _arguments(submissions: str) -> argparse.Namespace:
    """What lmms-eval's evaluation reads from its command line. Without it images are decoded twice, and answer files
    for the benchmarks' servers lie in the working directory."""
    return argparse.Namespace(
        output_path=submissions, process_with_media=False, reasoning_tags="none", agentic_trace_mode="basic"
    )


def _evaluate(model: AdaMolmo, loaded: Any, args: argparse.Namespace, limit: int | None) -> dict:
    # Not with its response cache: its key does not know the budget.
    return simple_evaluate(
        model=model, tasks=[loaded], task_manager=_NoTaskManager(), limit=limit, cli_args=args, bootstrap_iters=0
    )


class _NoTaskManager:
    """The task is loaded already; without this lmms-eval would read all of its task files."""


def _collect(
    model: AdaMolmo, task: str, loaded: Any, results: dict, args: Any, may_rerun: bool, resampling: Resampling
) -> TaskResult:
    samples = {
        sample["doc_id"]: sample for sample in reversed(results["samples"][task])
    }  # of several filters the first
    answers = [model.answers[task, doc_id] for doc_id in sorted(samples)]
    higher = loaded.higher_is_better()
    values = {name.partition(",")[0]: value for name, value in reversed(results["results"][task].items())}
    metrics, resampled = {}, {}
    for metric, aggregation in loaded.aggregation().items():
        value = values.get(metric)
        if not isinstance(value, int | float):
            continue  # no metric but a file for a benchmark's server
        scored = [answer for answer in answers if metric in samples[answer.doc_id]]
        found = partial(Metric, value=float(value), higher_is_better=bool(higher[metric]))
        try:
            drawn = resampled_values(
                [samples[answer.doc_id][metric] for answer in scored],
                [answer.image_id for answer in scored],
                aggregation,
                resampling,
                args if may_rerun else None,
            )
        except AdaMolmoError as error:
            metrics[metric] = found(low=None, high=None, no_interval=str(error))
            continue
        interval = percentile_interval(value, drawn)
        metrics[metric] = found(low=interval.low, high=interval.high, no_interval=None)
        resampled[metric] = drawn.tolist()
    if not metrics:
        raise AdaMolmoError(f"task '{task}': lmms-eval gives no metric as a number; expected a task that is scored.")
    rows = [_row(answer, samples[answer.doc_id], loaded.aggregation()) for answer in answers]
    return TaskResult(metrics, resampled, pd.DataFrame(rows))


def _row(answer, sample: dict, metrics: dict) -> dict:
    scores = {metric: sample[metric] for metric in metrics if metric in sample}
    columns = answer.columns()
    del columns["budget_ms"]  # the same in all rows
    return {
        "doc_id": answer.doc_id,
        "image_id": answer.image_id,
        "prompt": answer.prompt,
        "prediction": answer.text,
        "scores": json.dumps(scores, sort_keys=True, default=str),
        **columns,
    }
