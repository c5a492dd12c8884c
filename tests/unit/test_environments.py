"""The pinned environments are one: pyproject.toml, envs/study.yaml, and what is installed here."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize(("environment", "extras"), [("study", ()), ("lmms_eval", ("lmms-eval",))])
def test_the_conda_environment_has_the_same_pins(environment, extras):
    dependencies = yaml.safe_load((ROOT / f"envs/{environment}.yaml").read_text())["dependencies"]
    (pip,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    expected = PROJECT["dependencies"] + [pin for extra in extras for pin in PROJECT["optional-dependencies"][extra]]
    assert sorted(pip) == sorted(expected)


def test_every_dependency_is_pinned_to_the_installed_version():
    pins = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    for pin in pins:
        name, _, wanted = pin.partition("==")
        assert version(name).split("+")[0] == wanted, pin


def test_every_rule_names_an_environment_that_exists():
    named = [
        (path.parent / name).resolve()
        for path in (ROOT / "rules").glob("*.smk")
        for name in re.findall(r'conda:\s+"([^"]+)"', path.read_text())
    ]
    assert len(named) > 10
    assert all(path.is_file() for path in named)
