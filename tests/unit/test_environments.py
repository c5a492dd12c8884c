"""The environments are one: pyproject.toml, what `make constraints` makes of it in envs/, and what is installed."""

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "envs/constraints.txt"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
# The extras of each environment.
ENVIRONMENTS = {"study": (), **{extra.replace("-", "_"): (extra,) for extra in EXTRAS}}
CONDA = ("study", "lmms_eval")


def _pins(lines: Iterable[str]) -> dict[str, Requirement]:
    """By name, those that hold on this system and Python."""
    pins = [Requirement(line.split("  #")[0]) for line in lines]
    return {pin.name: pin for pin in pins if pin.marker is None or pin.marker.evaluate()}


PINS = _pins(line for line in CONSTRAINTS.read_text().splitlines() if not line.startswith("#"))


def _conda(environment: str) -> list[str]:
    dependencies = yaml.safe_load((ROOT / f"envs/{environment}.yaml").read_text())["dependencies"]
    (pip,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    return pip


def _direct(environment: str) -> list[str]:
    return PROJECT["dependencies"] + [pin for extra in ENVIRONMENTS[environment] for pin in EXTRAS[extra]]


def _needed(environment: str) -> tuple[set[str], set[str]]:
    """Names of what the environment consists of, as far as installed packages tell, and which of them are missing."""
    seen, missing = set(), set()
    left = [(Requirement(pin), "") for pin in _direct(environment)]
    while left:
        requirement, of_extra = left.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": of_extra}):
            continue
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                left += [(Requirement(text), extra) for text in distribution(name).requires or ()]
            except PackageNotFoundError:
                missing.add(name)
    return {name for name, _ in seen}, missing


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_all_that_an_environment_consists_of_is_pinned(environment):
    needed, missing = _needed(environment)
    assert needed <= set(PINS)
    if "lmms-eval" in missing:
        pytest.skip("lmms-eval is not installed here; `make test-lmms-eval` installs it")
    assert missing <= {"torchvision"}  # which the Makefile removes
    assert len(needed) > 80


def test_what_is_installed_has_the_pinned_version():
    installed = {canonicalize_name(found.name): found.version for found in distributions()}
    known = installed.keys() & PINS.keys()
    assert len(known) > 80
    assert {name: installed[name] for name in known if not PINS[name].specifier.contains(installed[name])} == {}


def test_direct_and_indirect_pins_agree():
    groups = [PROJECT["dependencies"], PYPROJECT["build-system"]["requires"]]
    groups += [*EXTRAS.values(), *PYPROJECT["dependency-groups"].values()]
    for direct in _pins(sum(groups, [])).values():
        assert direct.specifier == PINS[canonicalize_name(direct.name)].specifier, direct


@pytest.mark.parametrize("environment", CONDA)
def test_the_conda_environment_has_the_same_pins(environment):
    pins = _pins(_conda(environment))
    assert {name: pin.specifier for name, pin in pins.items()} == {name: PINS[name].specifier for name in pins}
    needed, _ = _needed(environment)
    assert needed <= set(pins)


@pytest.mark.parametrize("environment", CONDA)
def test_conda_installs_no_more_than_the_environment(environment):
    """What is not installed here is for torch on GPUs, or torchvision, which the Makefile removes."""
    needed, missing = _needed(environment)
    if "lmms-eval" in missing:
        pytest.skip("lmms-eval is not installed here; `make test-lmms-eval` installs it")
    assert not [
        name for name in set(_pins(_conda(environment))) - needed if not re.match("nvidia-|cuda-|triton$", name)
    ]


def test_the_files_name_versions_and_nothing_of_the_computer_that_made_them():
    lines = CONSTRAINTS.read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert len(pins) > 200
    for pin in [*pins, *_conda("study"), *_conda("lmms_eval")]:
        assert re.fullmatch(r"[a-z0-9-]+==[a-z0-9.]+( ; [\w.=!<>()' ]+)?( +# via [\w.():, -]+)?", pin), pin
    made_by = re.fullmatch(r"#    make constraints PINNED_BEFORE=(\d{4}-\d\d-\d\d)", lines[1])
    assert f"PINNED_BEFORE := {made_by[1]}\n" in (ROOT / "Makefile").read_text()


def test_make_installs_what_is_pinned():
    makefile = (ROOT / "Makefile").read_text()
    assert "\nCONSTRAINTS := envs/constraints.txt\n" in makefile
    (line,) = [line for line in makefile.splitlines() if "pip install" in line]
    assert line.startswith("INSTALL = PIP_CONSTRAINT=$(CONSTRAINTS) PIP_BUILD_CONSTRAINT=$(CONSTRAINTS) ")


def test_every_other_command_that_installs_names_the_constraints():
    pages = [ROOT / "README.md", ROOT / ".ci/run", *(ROOT / "docs").glob("*.md")]
    commands = [command for page in pages for command in re.findall(r"pip\s+install[^`\n]*", page.read_text())]
    assert len(commands) >= 2
    assert [command for command in commands if not command.startswith("pip install -c envs/constraints.txt ")] == []


def test_every_rule_names_an_environment_that_exists():
    named = [
        (path.parent / name).resolve()
        for path in (ROOT / "rules").glob("*.smk")
        for name in re.findall(r'conda:\s+"([^"]+)"', path.read_text())
    ]
    assert len(named) > 10
    assert all(path.is_file() for path in named)
