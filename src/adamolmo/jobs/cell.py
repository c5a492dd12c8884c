"""A cell of the study as its configuration asks for it: for the job that keeps it, and for a person who tries one."""

from pathlib import Path

from pandas import DataFrame

from adamolmo.config import StudyConfig
from adamolmo.controllers.governor import Governor
from adamolmo.evaluation.cell import evaluate_cell
from adamolmo.evaluation.cell_summary import Cell, Timing
from adamolmo.inference.controller import Controller
from adamolmo.inference.engine import Engine
from adamolmo.jobs.loading import load_questions
from adamolmo.statistics.intervals import Resampling


def run_cell(
    settings: StudyConfig, engine: Engine, cell: Cell, controller: Controller, governor: Governor, samples: Path
) -> tuple[DataFrame, Timing, list[dict]]:
    """The cell's rows and what their latencies belong to, as `evaluate_cell` has them, and the samples that cannot be
    asked, as {sample_id, reason}.

    Args:
        governor: of this cell's requests; it learns from them.
        samples: the dataset's evaluation split.

    Raises AdaMolmoError when too many samples are unusable, or the cell's reference is another device's.
    """
    questions, failed = load_questions(settings, engine, cell.dataset, samples)
    table, timing = evaluate_cell(
        engine,
        questions,
        controller,
        governor,
        cell,
        full=settings.knobs.grid.full,
        max_warmup=settings.latency.max_warmup,
        resampling=Resampling(settings.bootstrap.resamples, settings.seed),
    )
    return table, timing, failed
