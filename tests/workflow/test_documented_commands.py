"""Every command in README and docs: planned by Snakemake, known to make or adamolmo, or marked as needing a GPU."""

import shlex
import subprocess
from importlib.util import find_spec

import pytest
from mini_study import ROOT, run_snakemake

from adamolmo.cli import command_line

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKS = ("needs a gpu", "needs a cluster")


def _commands() -> list[tuple[str, str]]:
    """(page, command) of the indented and ```bash blocks, comments at the end of a line included."""
    found = []
    for page in PAGES:
        fence = None  # the language of the block that a line stands in
        for line in page.read_text().replace("\\\n", " ").splitlines():
            if line.startswith("```"):
                fence = line[3:] if fence is None else None
            elif (fence == "bash" or (fence is None and line.startswith("    "))) and line.strip():
                found.append((page.name, line.strip()))
    return [(page, line) for page, line in found if not line.startswith("#")]


COMMANDS = _commands()


def test_commands_are_found():
    assert ("getting-started.md", "snakemake --dry-run") in COMMANDS
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page}: {line[:50]}" for page, line in COMMANDS])
def test_the_command_can_run(page, line, clone):
    if any(mark in line.lower() for mark in MARKS):
        pytest.skip("marked as needing a GPU or a cluster")
    program, *arguments = shlex.split(line, comments=True)
    if program == "make":
        run = subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
    elif program == "snakemake":
        _plan(clone, arguments)
    elif program == "adamolmo":
        command_line().parse_args(arguments)
    elif program == "python" and arguments[:2] == ["-m", "lmms_eval"]:
        pytest.skip("run by tests/lmms_eval")
    elif program == "python" and arguments[0] == "-m":
        assert find_spec(arguments[1]) is not None
    elif program == "python":
        assert (ROOT / arguments[0]).is_file()
    else:
        pytest.fail(
            f"{page}: no test knows how to run '{line}'; mark it as needing a GPU or a cluster, or extend this."
        )


def _plan(clone, arguments: list[str]) -> None:
    kept, skip = [], False
    for argument in arguments:  # the plan is made in the clone, wherever the command would run
        if skip or argument == "--directory":
            skip = not skip
            continue
        kept.append(argument)
    result = run_snakemake(["--dry-run", *kept], clone.repository)
    assert result.returncode == 0, result.output
