"""No dataset, tier, controller or task can have a name that the study needs for something else."""

import re
from pathlib import Path

import pytest

from adamolmo.budgets import KINDS, Budget
from adamolmo.controllers.registry import CONTROLLERS
from adamolmo.controllers.table import AGGREGATIONS
from adamolmo.errors import AdaMolmoError
from adamolmo.files.catalogue import FILES
from adamolmo.names import ALL_DATASETS, ORACLE, RESERVED, STATIC_PREFIX

ROOT = Path(__file__).parents[2]


def written() -> set[str]:
    """Paths of all files that rules write, as they are declared."""
    declared = [re.sub(r"[][]", "", file.path) for file in FILES]
    declared += [re.sub(r"\[.*?\]", "", file.path) for file in FILES]
    text = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    return {*declared, *re.findall(r'"((?:results|logs)/[^"]+)"', text)}


def test_no_file_of_a_dataset_can_be_another_file():
    paths = written()
    assert {"results/importance/{dataset}.json", "results/importance/scores.json", "logs/importance/merge.log"} <= paths
    of_datasets = [path for path in paths if path.count("{") == 1 and "{dataset}" in path]
    forms = [re.escape(path).replace(re.escape("{dataset}"), "([a-z][a-z0-9_]*)") for path in of_datasets]
    taken = {match[1] for form in forms for path in paths if (match := re.fullmatch(form, path))}
    assert taken <= RESERVED.keys()
    assert taken == RESERVED.keys() - {ALL_DATASETS}, "a name that nothing needs any more is free"


@pytest.mark.parametrize("kind", KINDS)
def test_no_budget_is_called_as_a_kind_of_budgets(kind):
    with pytest.raises(AdaMolmoError):
        Budget.parse(kind)


def test_names_are_apart_also_where_a_file_system_does_not_tell_capitals():
    names = [*CONTROLLERS, *AGGREGATIONS, *RESERVED, ORACLE, STATIC_PREFIX]
    assert len({name.lower() for name in names}) == len(names)
