"""What a request will cost, in every configuration, before anything of it has run.

Crops and prompt tokens follow from the image's size and the question. How long the answer will be does not: every
configuration's decode steps are the mean of the profile, per dataset. With these the stage model (`latency_model`) is
linear in crops and tokens, so three coefficients per configuration are all that a request needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from adamolmo.core_exp.latency_model import KNOBS, STAGES, StageModel
from adamolmo.errors import AdaMolmoError
from adamolmo.files.lookup import EXPECTED_LATENCY
from adamolmo.files.schema import read_json, write_json
from adamolmo.knobs import KnobConfig

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = [*KNOBS, *STAGES, "latency_ms", "latency_source", "num_crops", "input_tokens", "output_tokens"]
_COEFFICIENTS = ("fixed_ms", "ms_per_crop", "ms_per_token")


@dataclass(frozen=True)
class ExpectedLatency:
    """Coefficients of one dataset.

    Attributes:
        tier: index of each configuration's tier among the tiers, cheapest first, [configurations].
        fixed_ms, ms_per_crop, ms_per_token: [configurations].
    """

    tier: np.ndarray
    fixed_ms: np.ndarray
    ms_per_crop: np.ndarray
    ms_per_token: np.ndarray

    def __call__(self, num_crops: np.ndarray, input_tokens: np.ndarray) -> np.ndarray:
        """Crops and prompt tokens at every tier, [..., tiers] each -> ms, [..., configurations]."""
        crops, tokens = np.asarray(num_crops), np.asarray(input_tokens)
        return (
            self.fixed_ms + self.ms_per_crop * crops[..., self.tier] + self.ms_per_token * tokens[..., self.tier]
        )  # [..., configurations]


def fit(profile: DataFrame, configs: Sequence[KnobConfig], fixed_prefix_layers: int, max_new_tokens: int) -> dict:
    """An entry of the document's `datasets`.

    Args:
        profile: core_exp rows with COLUMNS.
    """
    steps = profile["output_tokens"].clip(upper=max_new_tokens - 1)  # the end token takes a pass as well
    profile = profile.assign(tier=profile["tier"].astype(str), decode_steps=steps)
    timed = profile[profile["latency_source"] != "estimated"]  # what is estimated has been fitted to the others
    model = StageModel(timed, fixed_prefix_layers)
    mean_steps = profile.groupby(KNOBS, observed=True)["decode_steps"].mean()

    def latency_ms(num_crops: float, input_tokens: float) -> np.ndarray:
        rows = mean_steps.reset_index().assign(num_crops=num_crops, input_tokens=input_tokens)
        of_config = rows[KNOBS].join(model.predict(rows).sum(axis=1).rename("ms")).set_index(KNOBS)["ms"]
        return of_config.loc[[tuple(vars(config).values()) for config in configs]].to_numpy()  # [configurations]

    fixed_ms = latency_ms(0, 0)
    coefficients = dict(
        zip(_COEFFICIENTS, (fixed_ms, latency_ms(1, 0) - fixed_ms, latency_ms(0, 1) - fixed_ms), strict=True)
    )
    places = {tuple(vars(config).values()): place for place, config in enumerate(configs)}
    place = [places[knobs] for knobs in timed[KNOBS].itertuples(index=False, name=None)]
    fixed, per_crop, per_token = (coefficients[name][place] for name in _COEFFICIENTS)
    expected = fixed + per_crop * timed["num_crops"].to_numpy() + per_token * timed["input_tokens"].to_numpy()
    error_pct = 100 * float(np.abs(expected / timed["latency_ms"].to_numpy() - 1).mean())
    return {name: values.tolist() for name, values in coefficients.items()} | {"error_pct": error_pct}


def save(models: Mapping[str, dict], configs: Sequence[KnobConfig], clock: str, device: dict, path: Path) -> None:
    """Args:
    models: what `fit` gave, by dataset and "pooled".
    """
    names = [str(config) for config in configs]
    write_json(
        {"configurations": names, "datasets": dict(models), "clock": clock, "device": device}, path, EXPECTED_LATENCY
    )


def load(path: Path, dataset: str, configs: Sequence[KnobConfig], tiers: Sequence[str]) -> ExpectedLatency:
    """The model of a dataset, or "pooled", in the order of `configs`.

    Raises AdaMolmoError when the file is unusable, lacks the dataset or covers another grid.
    """
    content = read_json(path, EXPECTED_LATENCY)
    if dataset not in content["datasets"]:
        raise AdaMolmoError(f"{path}: has no latency of '{dataset}'; it has {', '.join(content['datasets'])}.")
    names = [str(config) for config in configs]
    if sorted(content["configurations"]) != sorted(names):
        raise AdaMolmoError(f"{path}: was made for another grid; expected {len(names)} configurations as {names[-1]}.")
    order = [content["configurations"].index(name) for name in names]
    try:
        values = [np.array(content["datasets"][dataset][name], dtype=float)[order] for name in _COEFFICIENTS]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise AdaMolmoError(
            f"{path}: '{dataset}' lacks coefficients ({error!r}); expected {', '.join(_COEFFICIENTS)} for each "
            "configuration: delete the file and run Snakemake again to remake it."
        ) from error
    return ExpectedLatency(np.array([list(tiers).index(config.tier) for config in configs]), *values)
