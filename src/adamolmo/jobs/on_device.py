"""Runs a script of the workflow on a device of its own, which is claimed before anything else happens.

    python -m adamolmo.jobs.on_device cpu 1 workflow/scripts/evaluate.py --dataset okvqa ...

A script imports torch, reads its inputs and loads the model: all of that would bend the timings of a neighbour on the
same core. So a job that has no device yet does nothing but wait, and this module imports nothing that takes time.
"""

import runpy
import sys

from adamolmo.inference.device import claim_device
from adamolmo.jobs.script import run


def main() -> None:
    device, gpus, script, *_ = sys.argv[1:]
    with claim_device(device, int(gpus)):
        sys.argv = sys.argv[3:]
        runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    run(main)
