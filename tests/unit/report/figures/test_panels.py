import pytest

from adamolmo.report.figures.panels import columns


@pytest.mark.parametrize(("panels", "expected"), [(1, 1), (2, 2), (3, 3), (4, 2), (5, 3), (6, 3), (7, 3)])
def test_panels_fill_both_columns_of_a_paper_in_rows_as_equal_as_they_can_be(panels, expected):
    assert columns(panels, 7.0) == expected


def test_one_column_of_a_paper_has_one_panel_beside_none():
    assert {columns(panels, 3.3) for panels in range(1, 8)} == {1}
