"""Decisions of single requests, in arrays, against what policies are trained with."""

import numpy as np
import pytest
import torch
from policies import GRID, settings

from adamolmo.controllers.choosing import most_probable
from adamolmo.controllers.training import grpo
from adamolmo.controllers.training.reward import reward
from adamolmo.controllers.training.table_prior import RequestPrior
from adamolmo.core_exp.expected_latency import ExpectedLatency
from adamolmo.inference.controller import Limit, RequestSize, Stage1Inputs


def test_the_choice_of_a_request_is_that_of_training():
    logits = 2 * torch.randn(1000, len(GRID.configs), generator=torch.Generator().manual_seed(0))
    expected = grpo.choices(logits, GRID).tolist()
    assert [most_probable(of.numpy().reshape(len(GRID.tiers), -1)) for of in logits] == expected
    assert len(set(expected)) == len(GRID.configs)


@pytest.mark.parametrize("overheads_ms", [np.zeros(18), np.repeat([0.5, 1.5], 9)])
def test_the_prior_of_a_request_is_that_of_training(overheads_ms):
    rng, weights = np.random.default_rng(0), settings().reward
    accuracy, per_crop_ms = rng.uniform(0, 1, 18), rng.uniform(1, 5, 18)
    tier = np.repeat([0, 1], 9)
    prior = RequestPrior(
        accuracy, ExpectedLatency(tier, np.ones(18), per_crop_ms, np.zeros(18)), settings(), overheads_ms
    )
    for budget_ms in (2.0, 11.3, 40.0):
        for crops in ((2, 5), (2, 17)):
            expected_ms = torch.tensor(1 + per_crop_ms * np.array(crops)[tier] + overheads_ms).float()
            expected = reward(
                torch.tensor(accuracy).float(), expected_ms, torch.zeros(()), torch.tensor(budget_ms), weights
            )
            found = prior(Stage1Inputs(Limit(budget_ms), size=RequestSize(crops, (30, 60))))
            np.testing.assert_allclose(found, expected / settings().prior_temperature, rtol=1e-5, atol=1e-4)
            assert found.dtype == np.float32
