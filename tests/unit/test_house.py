"""Where things are: one phase, one package, one rules file, one name; and the pages that say so are true."""

import re
from pathlib import Path

import pytest

import adamolmo

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/adamolmo"
PACKAGES = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
# `common.smk` is every phase's; a phase whose rules need functions has them in `{phase}_inputs.smk`.
RULES = {path.stem for path in (ROOT / "rules").glob("*.smk")}
PHASES = {name for name in RULES if name != "common" and not name.endswith("_inputs")}
DATA = {"src/adamolmo/data/procedural.py"}


def test_a_phase_has_one_name():
    assert len(PHASES) == 9
    assert PHASES <= PACKAGES
    for phase in PHASES:
        assert list((ROOT / "tests/unit" / phase).glob("test_*.py")), phase
        rules = (ROOT / f"rules/{phase}.smk").read_text()
        logs = re.findall(r'^    log:\n\s+"logs/(\w+)', rules, re.MULTILINE)
        assert logs and set(logs) == {phase}, phase


def test_the_study_page_has_a_row_for_each_phase_with_its_rules():
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)$", (ROOT / "docs/study.md").read_text(), re.MULTILINE))
    assert rows.keys() == PHASES
    for phase, row in rows.items():
        named = set(re.findall(r"`(\w+)`", row.split("|")[1]))
        assert named <= set(
            re.findall(r"^(?:use rule \w+ as|rule) (\w+)", (ROOT / f"rules/{phase}.smk").read_text(), re.MULTILINE)
        )


def test_the_readme_maps_every_package():
    (listing,) = re.findall(r"^src/adamolmo/\n((?:  .*\n)+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    mapped = [line.split()[0].rstrip("/") for line in listing.splitlines()]
    modules = {path.stem for path in SOURCE.glob("*.py")} - {"__init__"}
    assert set(mapped) == PACKAGES | modules
    assert len(mapped) == len(set(mapped))


def test_few_modules_stand_loose():
    assert len(list(SOURCE.glob("*.py"))) <= 12


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "workflow", "rules"])
def test_no_file_is_long(folder):
    files = [path for suffix in ("*.py", "*.smk") for path in (ROOT / folder).rglob(suffix)]
    assert files
    long = {str(path.relative_to(ROOT)) for path in files if path.read_text().count("\n") > 400}
    assert long <= DATA


def test_what_is_cited_is_this_version():
    for name in ("CITATION.cff", "README.md"):
        found = re.findall(r"^\s*version\s*[:=]\s*\{?([\w.]+)", (ROOT / name).read_text(), re.MULTILINE)
        assert found == [adamolmo.__version__], name
