"""slurm/profile.yaml: Snakemake ignores misspelt rules and resources silently, so their names are checked here."""

import re
import subprocess
import sys

import pytest
import yaml
from mini_study import MINI, ROOT, Study
from submission import SNAKEMAKE, WITHOUT_TORCH

PROFILE = ROOT / "slurm" / "profile.yaml"
RESOURCES = {"mem_mb", "runtime", "slurm_partition", "slurm_account", "constraint", "tmpdir"}
SETTINGS = yaml.safe_load(PROFILE.read_text())
# With the settings that wait for a user behind a "# ".
UNCOMMENTED = yaml.safe_load(re.sub(r"^  # (?=\w+:)", "  ", PROFILE.read_text(), flags=re.MULTILINE))


def rules() -> set[str]:
    command = [sys.executable, "-m", "snakemake", "--list-rules"]
    return set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split())


def gpu_rules() -> set[str]:
    """Rules that ask for a GPU themselves, or by way of the rule that they are made from."""
    text = "".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
    blocks = re.split(r"^(?=rule |use rule )", text, flags=re.MULTILINE)[1:]
    heads = [re.match(r"(?:use rule (\w+) as|rule) (\w+)", block).groups() for block in blocks]
    found = {name for (_, name), block in zip(heads, blocks, strict=True) if "gpu=GPUS" in block}
    return found | {name for origin, name in heads if origin in found}


def test_every_rule_exists():
    assert set(SETTINGS["set-resources"]) <= rules()


def test_every_resource_is_known():
    named = [UNCOMMENTED["default-resources"], *SETTINGS["set-resources"].values()]
    assert set().union(*named) == RESOURCES


def test_every_job_with_the_model_gets_its_memory():
    assert len(gpu_rules()) >= 12
    assert set(SETTINGS["set-resources"]) == gpu_rules()


def test_memory_and_time_grow_with_the_attempts():
    for resources in (SETTINGS["default-resources"], *SETTINGS["set-resources"].values()):
        assert resources["mem_mb"].startswith("attempt * ") and resources["runtime"].startswith("attempt * ")
    assert SETTINGS["retries"] >= 1


def test_retries_stand_in_the_profile_alone():
    """A rule's own are retried within the allocation that was too small."""
    assert not [path for path in (ROOT / "rules").glob("*.smk") if "retries:" in path.read_text()]


@pytest.mark.parametrize("configs", [(MINI,), ("config/molmoe-1b.yaml",)])
def test_planning_needs_neither_slurm_nor_torch(tmp_path, configs):
    Study.clone(tmp_path)
    command = [sys.executable, "-c", SNAKEMAKE, "--profile", "slurm", "--dry-run", "--quiet", "--configfile", *configs]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1] == WITHOUT_TORCH
