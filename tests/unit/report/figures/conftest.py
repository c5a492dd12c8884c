"""The figures of two made-up studies, one with budgets of all kinds, each drawn when a test first asks for it."""

import pandas as pd
import pytest
import study_data
from figure_checks import draw, figure_inputs
from matplotlib.figure import Figure

from adamolmo.evaluation.summary import collect


class Drawn(dict):
    """Figure by name."""

    def __init__(self, inputs: dict[str, object]) -> None:
        self.inputs = inputs

    def __missing__(self, name: str) -> Figure:
        self[name] = draw(name, self.inputs)
        return self[name]


@pytest.fixture(scope="session")
def profile() -> pd.DataFrame:
    return study_data.profile(samples=60)


@pytest.fixture(scope="session")
def summary(tmp_path_factory) -> pd.DataFrame:
    return collect(study_data.write_cells(tmp_path_factory.mktemp("cells")))


@pytest.fixture(scope="session")
def summary_of_all_kinds(tmp_path_factory) -> pd.DataFrame:
    cells = study_data.write_cells(tmp_path_factory.mktemp("cells"), budgets=study_data.BUDGETS_OF_ALL_KINDS)
    return collect(cells)


@pytest.fixture(scope="session")
def figures_of_all_kinds(summary_of_all_kinds, profile) -> Drawn:
    return Drawn(figure_inputs(summary_of_all_kinds, profile))


@pytest.fixture(scope="session")
def figures(summary, profile) -> Drawn:
    return Drawn(figure_inputs(summary, profile))
