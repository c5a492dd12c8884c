"""What the other tests of the report draw and tell of has the form of the study's own files."""

import pytest
import study_data

from adamolmo.evaluation.summary import collect
from adamolmo.files.comparisons import COMPARISONS, EQUAL_LATENCY, HYPERVOLUMES, PROMISES
from adamolmo.files.schema import write_table


@pytest.mark.parametrize("controllers", [["lookup-mean", "topk-only", "static-full", "oracle"], ["lookup-mean"]])
def test_made_up_tables_can_be_written_as_the_studys_own(tmp_path, controllers):
    summary = collect(study_data.write_cells(tmp_path, controllers, study_data.BUDGETS_OF_ALL_KINDS))
    for schema in (EQUAL_LATENCY, PROMISES, HYPERVOLUMES, *([COMPARISONS] if len(controllers) > 1 else [])):
        write_table(getattr(study_data, schema.name)(summary), tmp_path / schema.name, schema)
