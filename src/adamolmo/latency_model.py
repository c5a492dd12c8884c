"""Latency of samples that were not timed, estimated from those that were.

Per configuration and stage a line with two non-negative coefficients, overhead and time per unit of work, is fitted by
least squares: vision over crops, prefill over prompt tokens, decode over decoded tokens.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pandas import DataFrame

KNOBS = ["tier", "top_k", "num_active_blocks"]
_WORK = (("vision_ms", "num_crops"), ("prefill_ms", "input_tokens"), ("decode_ms", "decode_steps"))
STAGES = [stage for stage, _ in _WORK]
_FOLDS = 5


class StageModel:
    """Lines of every configuration that occurs in `timed`, a table with the knobs, the stages and their work."""

    def __init__(self, timed: "DataFrame"):
        self._lines = {
            config: {stage: _fit_line(rows[work].to_numpy(float), rows[stage].to_numpy(float)) for stage, work in _WORK}
            for config, rows in timed.groupby(KNOBS, observed=True)
        }

    def predict(self, rows: "DataFrame") -> "DataFrame":
        """The stages in ms for rows with the knobs and the work, in the same order."""
        configs = list(zip(*(rows[knob] for knob in KNOBS), strict=True))
        estimates = {}
        for stage, work in _WORK:
            overhead, per_unit = np.array([self._lines[config][stage] for config in configs]).T
            estimates[stage] = overhead + per_unit * rows[work].to_numpy(float)
        return rows[[]].assign(**estimates)


def _fit_line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Least squares (intercept, slope), both >= 0: more work never takes less time, and none takes no negative time."""
    dx = x - x.mean()
    spread = float(dx @ dx)
    slope = float(dx @ y) / spread if spread else 0.0
    if slope <= 0:
        return float(y.mean()), 0.0
    intercept = float(y.mean() - slope * x.mean())
    return (intercept, slope) if intercept >= 0 else (0.0, float(x @ y / (x @ x)))


def held_out_error_pct(timed: "DataFrame") -> float | None:
    """Mean absolute error of the total, in percent, when samples are estimated from the other samples (5 folds).

    None for a single sample, which leaves nothing to estimate from.
    """
    samples = timed["sample_id"].unique()
    if len(samples) < 2:
        return None
    errors = []
    for fold in range(min(_FOLDS, len(samples))):
        held_out = timed["sample_id"].isin(samples[fold::_FOLDS])
        rows = timed[held_out]
        estimates = StageModel(timed[~held_out]).predict(rows)[STAGES].sum(axis=1).to_numpy()
        totals = rows[STAGES].sum(axis=1).to_numpy()
        errors.append(np.abs(estimates - totals) / totals)
    return float(100 * np.concatenate(errors).mean())
