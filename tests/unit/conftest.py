"""What the tests of all learned controllers train on."""

from collections.abc import Callable

import pytest
from policies import tiny_features, tiny_prefix, training_set, with_twins

from adamolmo.controllers.training.training_set import TrainingSet


@pytest.fixture(scope="session")
def profiled(make_tiny_engine, tiny_model, tiny_samples, tmp_path_factory) -> tuple:
    """The tiny samples and their twins, their features and the prefix."""
    samples = with_twins(tiny_samples)
    features = tiny_features(make_tiny_engine(), samples, tmp_path_factory.mktemp("features"))
    return samples, features, tiny_prefix(tiny_model)


@pytest.fixture(scope="session")
def data(profiled) -> Callable[[Callable], TrainingSet]:
    """A training set for any accuracy(sample index, config); its rows are the tiny samples and their twins."""
    samples, features, prefix = profiled
    return lambda accuracy: training_set(samples, accuracy, features, prefix)
