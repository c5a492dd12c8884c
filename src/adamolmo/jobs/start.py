"""Starts a script of the workflow; one that runs the model gets a device of its own before anything else happens.

    python -m adamolmo.jobs.start cpu 1 workflow/scripts/evaluate.py --dataset okvqa ...
    python -m adamolmo.jobs.start none 0 workflow/scripts/summarise.py ...

A script imports torch, reads its inputs and loads the model: all of that would bend the timings of a neighbour on the
same core. So a job that has no device yet does nothing but wait, and this module imports nothing that takes time.
"""

import runpy
import sys

from adamolmo.inference.device import claim_device
from adamolmo.jobs import fork_server
from adamolmo.jobs.script import run


def execute(arguments: list[str]) -> None:
    """Args:
    arguments: kind of device ("none" for none), number of GPUs, the script and what it is given.
    """
    device, gpus, *sys.argv = arguments
    if device == "none":
        run(_run_script)
        return

    def on_device() -> None:
        with claim_device(device, int(gpus)):
            _run_script()

    run(on_device)


def _run_script() -> None:
    runpy.run_path(sys.argv[0], run_name="__main__")


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[0] == "--serve":
        fork_server.serve(arguments[1], execute, arguments[2:])
        return
    status = fork_server.run_job(arguments)
    if status is None:
        execute(arguments)
    else:
        sys.exit(status)


if __name__ == "__main__":
    main()
