"""Runs the workflow of a copy of this repository, as its users would."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
MINI = "tests/workflow/mini.yaml"
PARTS = ("Snakefile", "config.yaml", "config", "rules", "workflow", "envs", "profiles", "slurm", "src", "resources")


@dataclass(frozen=True)
class Result:
    returncode: int
    output: str

    @property
    def planned(self) -> dict[str, int]:
        """Rule -> number of jobs, of a dry run or a run."""
        if to_do := re.search(r"^\d+ jobs? to do: (.*)$", self.output, re.MULTILINE):
            return {rule: int(count) for count, rule in re.findall(r"(\d+) (\w+)", to_do[1])}
        table = re.search(r"^Job stats:\njob +count\n[- ]+\n(.*?)^total", self.output, re.MULTILINE | re.DOTALL)
        return (
            {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table[1], re.MULTILINE)} if table else {}
        )

    @property
    def errors(self) -> list[str]:
        """The sentences that scripts and the configuration end with."""
        return list(dict.fromkeys(re.findall(r"^ *error: (.*)$", self.output, re.MULTILINE)))


@dataclass(frozen=True)
class Study:
    """A repository whose workflow runs in `directory`; both are the same unless a second run is made elsewhere."""

    repository: Path
    directory: Path

    @classmethod
    def clone(cls, repository: Path) -> "Study":
        for part in (*PARTS, MINI):
            source, target = ROOT / part, repository / part
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            else:
                shutil.copy2(source, target)
        return cls(repository, repository)

    def copy(self, repository: Path) -> "Study":
        """With all results, and what Snakemake remembers of them; without the socket of a run that is just ending."""
        shutil.copytree(self.repository, repository, ignore=shutil.ignore_patterns("*.sock"), dirs_exist_ok=True)
        return Study(repository, repository)

    def snakemake(self, *arguments: str | Path, configs: tuple[str | Path, ...] = (), cores: int = 2) -> Result:
        """`arguments` before the targets, which follow a "--"."""
        return run_snakemake(self._arguments(*arguments, configs=configs, cores=cores), self.repository)

    def _arguments(self, *arguments: str | Path, configs: tuple[str | Path, ...], cores: int) -> list[str]:
        places = ["--snakefile", self.repository / "Snakefile", "--directory", self.directory]
        configs = ("--configfile", self.repository / MINI, *configs)
        return list(map(str, ["--cores", cores, *places, *configs, *arguments]))

    def command(self, *arguments: str | Path, configs: tuple[str | Path, ...] = (), cores: int = 2) -> list[str]:
        return [sys.executable, "-m", "snakemake", *self._arguments(*arguments, configs=configs, cores=cores)]

    def start(
        self, *arguments: str | Path, configs: tuple[str | Path, ...] = (), cores: int = 2
    ) -> "subprocess.Popen[str]":
        """Snakemake as the leader of a process group of its own, to which its jobs belong."""
        return self.run(self.command(*arguments, configs=configs, cores=cores))

    def run(self, command: list[str]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command,
            cwd=self.repository,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def plan(self, *arguments: str | Path, configs: tuple[str | Path, ...] = ()) -> dict[str, int]:
        """Rule -> number of jobs that would run."""
        result = self.snakemake("--dry-run", *arguments, configs=configs)
        assert result.returncode == 0, result.output
        return result.planned

    def path(self, name: str) -> Path:
        return self.directory / name


def run_snakemake(arguments: list[str], directory: Path) -> Result:
    """Snakemake from its start to its end, in a process of its own that works in `directory`."""
    with tempfile.NamedTemporaryFile("r") as output:
        request = {"arguments": arguments, "directory": str(directory), "environment": _environment()}
        server = _server()
        server.stdin.write(json.dumps(request | {"output": output.name}) + "\n")
        server.stdin.flush()
        return Result(int(server.stdout.readline()), output.read())


@cache
def _server() -> "subprocess.Popen[str]":
    """Ends when this process does, and with it its standard input."""
    command, pipe = [sys.executable, Path(__file__).with_name("snakemake_server.py")], subprocess.PIPE
    return subprocess.Popen(command, env=_environment(), stdin=pipe, stdout=pipe, text=True, start_new_session=True)


def _environment() -> dict[str, str]:
    """Without what belongs to the test process alone."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SNAKEMAKE"))}


def only_error(result: Result) -> str:
    assert result.returncode == 1
    assert "Traceback" not in result.output
    assert len(result.errors) == 1, result.output
    return result.errors[0]
