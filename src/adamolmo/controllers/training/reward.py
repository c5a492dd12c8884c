"""What a choice earns: the reward, and the profile it is looked up in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from adamolmo.core_exp.expected_latency import ExpectedLatency
from adamolmo.errors import AdaMolmoError
from adamolmo.files.columns import IDS, KNOBS
from adamolmo.knobs import KnobGrid

if TYPE_CHECKING:
    from pandas import DataFrame

    from adamolmo.config.training import RewardSettings

Values = TypeVar("Values", Tensor, np.ndarray)
MEASURES = ["accuracy", "latency_ms", "flops", "num_crops", "input_tokens"]
COLUMNS = ["dataset", *IDS, *KNOBS, *MEASURES]


def reward(
    accuracy: Values,
    latency_ms: Values,
    complexity: Values | float,
    budget_ms: Values | float,
    weights: RewardSettings,
    sigmoid: Callable[[Values], Values] = torch.sigmoid,
) -> Values:
    """accuracy - beta*sigmoid(10*(r - 1)) - gamma*max(0, r - 1)^2 + delta*max(0, 1 - r) - epsilon*complexity.

    r is latency / budget. The first penalty is a soft step at the budget, the second grows with the overshoot.
    All values broadcast against each other: tensors, or arrays with a sigmoid for them.
    """
    overshoot = latency_ms / budget_ms - 1
    return (
        accuracy
        - weights.beta * sigmoid(10 * overshoot)
        - weights.gamma * overshoot.clip(min=0) ** 2
        + weights.delta * (-overshoot).clip(min=0)
        - weights.epsilon * complexity
    )


@dataclass(frozen=True)
class Profile:
    """What every configuration did on every sample, for training.

    Attributes:
        samples: (dataset, sample_id) of each row.
        images: (dataset, image_id) of each row.
        accuracy, latency_ms: [samples, configurations], in the order of the grid.
        expected_ms: what the latency was expected to be before vision, [samples, configurations].
        num_crops: crops at every tier, the overview included, [samples, tiers].
        input_tokens: length of the prompt at every tier, [samples, tiers].
        complexity: operations as a share of the sample's dearest configuration, [samples, configurations].
        budget_ms: lowest and highest budget to train for, [samples, 2].
    """

    samples: tuple[tuple[str, str], ...]
    images: tuple[tuple[str, str], ...]
    accuracy: Tensor
    latency_ms: Tensor
    expected_ms: Tensor
    num_crops: Tensor
    input_tokens: Tensor
    complexity: Tensor
    budget_ms: Tensor

    @classmethod
    def from_frame(
        cls,
        frame: DataFrame,
        grid: KnobGrid,
        budgets_ms: Mapping[str, tuple[float, float]],
        expected: Mapping[str, ExpectedLatency],
    ) -> Profile:
        """From the core_exp rows of some datasets, and of each its range of budgets and its expected latencies.

        Raises AdaMolmoError when a dataset's configurations are not exactly the grid's, for every one of its samples.
        """
        samples, images, measures, sizes, expectations, ranges = [], [], [], [], [], []
        for dataset, rows in frame.groupby("dataset", observed=True):
            sample_ids, values = _by_sample(dataset, rows, grid)
            samples += [(dataset, sample_id) for sample_id in sample_ids]
            image_of = dict(zip(rows["sample_id"].astype(str), rows["image_id"].astype(str), strict=True))
            images += [(dataset, image_of[sample_id]) for sample_id in sample_ids]
            measures.append(values[:3])
            num_crops, input_tokens = values[3:].unflatten(-1, (len(grid.tiers), -1))[..., 0]  # [samples, tiers]
            sizes.append(torch.stack([num_crops, input_tokens]))
            expected_ms = expected[dataset](num_crops.numpy(), input_tokens.numpy())
            expectations.append(torch.from_numpy(expected_ms).float())
            ranges.append(torch.tensor(budgets_ms[dataset]).expand(len(sample_ids), 2))
        accuracy, latency_ms, flops = torch.cat(measures, dim=1)
        complexity = flops / flops.amax(dim=1, keepdim=True)
        num_crops, input_tokens = torch.cat(sizes, dim=1)
        expected_ms, budget_ms = map(torch.cat, (expectations, ranges))
        costs = (latency_ms, expected_ms, num_crops, input_tokens, complexity)
        return cls(tuple(samples), tuple(images), accuracy, *costs, budget_ms)

    @cached_property
    def datasets(self) -> tuple[str, ...]:
        return tuple(sorted({dataset for dataset, _ in self.samples}))

    @cached_property
    def dataset(self) -> Tensor:
        """Index into `datasets`, [samples]."""
        return torch.tensor([self.datasets.index(dataset) for dataset, _ in self.samples])

    @cached_property
    def mean_full_ms(self) -> Tensor:
        """Of each sample's dataset, mean latency of the full configuration, [samples]."""
        of_full = self.latency_ms[:, -1].double()
        sums = torch.zeros(len(self.datasets)).double().index_add(0, self.dataset, of_full)
        return (sums / self.dataset.bincount(minlength=len(self.datasets)))[self.dataset]

    def table(self, rows: Tensor) -> Tensor:
        """Mean accuracy of every configuration over those of `rows` that are of a dataset, [datasets, configurations];
        over all of them for a dataset that has none."""
        members = torch.nn.functional.one_hot(self.dataset[rows], len(self.datasets)).T.to(self.accuracy)
        members[members.sum(dim=1) == 0] = 1
        return members @ self.accuracy[rows] / members.sum(dim=1, keepdim=True)

    def reward(self, rows: Tensor, budget_ms: Tensor, weights: RewardSettings) -> Tensor:
        """Rows [samples] at budgets [samples, budgets] -> [samples, budgets, configurations]."""
        table = (values[rows, None] for values in (self.accuracy, self.latency_ms, self.complexity))
        return reward(*table, budget_ms[..., None], weights)

    def take(self, rows: list[int]) -> Profile:
        values = (getattr(self, field.name) for field in fields(self))
        return Profile(*(v[rows] if isinstance(v, Tensor) else tuple(v[row] for row in rows) for v in values))

    def slower(self, overheads_ms: Sequence[float]) -> Profile:
        """With the time that a controller adds to every configuration, [configurations], on top of its latencies."""
        added_ms = torch.tensor(overheads_ms, dtype=self.latency_ms.dtype)
        return replace(self, latency_ms=self.latency_ms + added_ms, expected_ms=self.expected_ms + added_ms)


def _by_sample(dataset: str, frame: DataFrame, grid: KnobGrid) -> tuple[list[str], Tensor]:
    """Sample ids, sorted, and MEASURES as [measures, samples, configurations]."""
    order = {(c.tier, c.top_k, c.num_active_blocks): index for index, c in enumerate(grid.configs)}
    knobs = zip(frame["tier"].astype(str), frame["top_k"].tolist(), frame["num_active_blocks"].tolist(), strict=True)
    configs = [order.get(values) for values in knobs]
    if None in configs or set(configs) != set(order.values()):
        raise AdaMolmoError(f"profile of {dataset}: its configurations are not the study's grid; expected {grid}.")
    table = frame[["sample_id", *MEASURES]].assign(sample_id=frame["sample_id"].astype(str), config=configs)
    table = table.sort_values(["sample_id", "config"])
    counts = table.groupby("sample_id")["config"].agg(["count", "nunique"])
    uneven = counts[(counts != len(order)).any(axis=1)]
    if len(uneven):
        raise AdaMolmoError(
            f"profile of {dataset}: sample '{uneven.index[0]}' has {uneven.iloc[0]['count']} rows; "
            f"expected each of the {len(order)} configurations once."
        )
    values = torch.tensor(table[MEASURES].to_numpy(dtype="float64"), dtype=torch.float32)
    return list(counts.index), values.T.reshape(len(MEASURES), len(counts), len(order))
