"""Latency of samples that were not timed, estimated from those that were.

Per tier and stage, all configurations are fitted at once, so that each estimate rests on every timed run of its tier:

    vision  = a + b * crops
    prefill = a + b * tokens + blocks * (c[top_k] + d[top_k] * tokens)
    decode  = a + steps * (b + blocks * (c[top_k] + d * tokens))

where `blocks` counts those behind the fixed prefix, which are alike by construction, and nothing is assumed about the
form of top_k's effect. Coefficients are not negative (more work never takes less time) and minimise relative errors:
non-negative least squares, Lawson and Hanson (1974).
"""

import numpy as np
from pandas import DataFrame
from scipy.optimize import nnls

from adamolmo.files.columns import KNOBS, STAGES

WORK = ["num_crops", "input_tokens", "decode_steps"]
_FOLDS = 5


def with_decode_steps(table: DataFrame, max_new_tokens: int) -> DataFrame:
    """With the column of WORK that a profile does not have: the end token takes a pass, the last possible one none."""
    return table.assign(decode_steps=table["output_tokens"].clip(upper=max_new_tokens - 1))


class StageModel:
    """Coefficients of every tier that occurs in `timed`, a table with the columns KNOBS, WORK and STAGES."""

    def __init__(self, timed: DataFrame, fixed_prefix_layers: int):
        self._fixed_prefix_layers = fixed_prefix_layers
        self._top_k = sorted(timed["top_k"].unique())
        self._coefficients = {
            (tier, stage): _fit(self._terms(rows, stage), rows[stage].to_numpy(float))
            for tier, rows in timed.groupby("tier", observed=True)
            for stage in STAGES
        }

    def predict(self, rows: DataFrame) -> DataFrame:
        """The stages in ms for rows with KNOBS and WORK, in the same order; knob values must occur in `timed`."""
        estimates = {}
        for stage in STAGES:
            values = np.empty(len(rows))
            for tier in rows["tier"].unique():
                of_tier = (rows["tier"] == tier).to_numpy()
                values[of_tier] = self._terms(rows[of_tier], stage) @ self._coefficients[tier, stage]
            estimates[stage] = values
        return rows[[]].assign(**estimates)

    def _terms(self, rows: DataFrame, stage: str) -> np.ndarray:
        crops, tokens, steps = (rows[work].to_numpy(float) for work in WORK)
        blocks, one = rows["num_active_blocks"].to_numpy(float) - self._fixed_prefix_layers, np.ones(len(rows))
        per_k = [blocks * (rows["top_k"].to_numpy() == k) for k in self._top_k]
        terms = {
            "vision_ms": [one, crops],
            "prefill_ms": [one, tokens, *per_k, *(blocks_k * tokens for blocks_k in per_k)],
            "decode_ms": [one, steps, *(blocks_k * steps for blocks_k in per_k), blocks * steps * tokens],
        }
        return np.stack(terms[stage], axis=1)


def _fit(terms: np.ndarray, times_ms: np.ndarray) -> np.ndarray:
    # A stage that never ran (no token was decoded) has nothing to be relative to, and estimates of zero.
    weights = 1 / np.maximum(times_ms, 1e-3)
    weighted = terms * weights[:, None]
    scale = np.linalg.norm(weighted, axis=0)
    scale[scale == 0] = 1.0
    return nnls(weighted / scale, times_ms * weights)[0] / scale


def held_out_estimates(timed: DataFrame, fixed_prefix_layers: int) -> DataFrame:
    """Every timed row estimated from the other samples (5 folds): sample_id, KNOBS, measured_ms and estimated_ms.

    Empty for a single sample, which leaves nothing to estimate from.
    """
    samples = timed["sample_id"].unique()
    held_out = timed.iloc[: 0 if len(samples) < 2 else None].assign(estimated_ms=np.nan)
    for fold in range(min(_FOLDS, len(samples)) if len(held_out) else 0):
        rows = timed["sample_id"].isin(samples[fold::_FOLDS])
        estimates = StageModel(timed[~rows], fixed_prefix_layers).predict(timed[rows])
        held_out.loc[rows, "estimated_ms"] = estimates.sum(axis=1)
    return held_out.assign(measured_ms=held_out[[*STAGES]].sum(axis=1))[
        ["sample_id", *KNOBS, "measured_ms", "estimated_ms"]
    ]


def estimate_errors(held_out: DataFrame) -> dict[str, dict[str, float]]:
    """Per tier, and over "all": mean absolute error and bias of the estimated latency, in percent of the measured."""
    error_pct = 100 * (held_out["estimated_ms"] / held_out["measured_ms"] - 1)
    groups = {str(tier): error_pct[rows.index] for tier, rows in held_out.groupby("tier", observed=True)}
    return {
        name: {"mean_absolute_pct": float(errors.abs().mean()), "bias_pct": float(errors.mean())}
        for name, errors in (groups | {"all": error_pct}).items()
        if len(errors)
    }
