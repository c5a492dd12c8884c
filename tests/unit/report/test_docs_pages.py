"""The generated pages of docs/ are up to date: `make docs` rewrites them."""

import difflib
from pathlib import Path

import pytest

from adamolmo.config import StudyConfig
from adamolmo.report.docs_pages import pages

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("name", pages(DOCS.parent))
def test_page_is_up_to_date(name):
    found, expected = (DOCS / name).read_text().splitlines(), pages(DOCS.parent)[name].splitlines()
    difference = "\n".join(difflib.unified_diff(found, expected, f"docs/{name}", "generated", lineterm=""))
    assert not difference, f"run `make docs`:\n{difference}"


def test_every_key_of_the_configuration_is_explained():
    table = pages(DOCS.parent)["configuration.md"]
    study = StudyConfig.load(DOCS.parent / "config.yaml").model_dump()
    for section, content in study.items():
        keys = content if isinstance(content, dict) and section != "datasets" else []
        assert all(f"`{section}.{key}" in table for key in keys), section
        assert f"`{section}" in table
