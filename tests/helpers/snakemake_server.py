"""Snakemake, again and again, without importing it each time: a process that has imported it forks for every run.

Reads one JSON document per line, {"arguments", "directory", "environment", "output"}, and answers with the exit status.
"""

import json
import os
import sys

# The first three are what Snakemake and the study's configuration import while they read a Snakefile.
import pandas  # noqa: F401
import pydantic  # noqa: F401
import smart_open  # noqa: F401
from snakemake.cli import get_argument_parser, main


def serve() -> None:
    get_argument_parser()  # loads Snakemake's plugins
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            run(**request)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(arguments: list[str], directory: str, environment: dict[str, str], output: str) -> None:
    """Becomes a Snakemake that leads a process group of its own, as from a shell; does not return."""
    os.setsid()
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    with open(os.devnull) as nothing, open(output, "w") as file:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["snakemake", *arguments]
    main()


if __name__ == "__main__":
    serve()
