"""How fast the device computes and reads at most: operations and bytes per second.

Known without the library under test, which may be slow itself: from the data sheet of a GPU, from a small C program on
one core of a CPU. Only where neither is to be had, another library's measurements stand in, and `source` says so.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from cases import timed_ms

# Data sheets, dense bfloat16.
DATA_SHEETS = {"H200": (989e12, 4.8e12), "H100": (989e12, 3.35e12)}
_REPEATS = 10


def device_rates(name: str, device: str, dtype, megabytes: int) -> dict:
    """Of the device with this name; `megabytes` are read, more than any cache holds.

    Returns `source`, `flops_per_s`, `bytes_per_s`, and as `torch` what PyTorch reaches of both.
    """
    reached = _torch_rates(device, dtype, megabytes)
    if device == "cpu":
        limits = _c_rates(megabytes) or _numpy_rates(megabytes)
    else:
        limits = _data_sheet(name) or {
            "source": f"PyTorch itself, which is no upper limit: no data sheet of the {name} is known here",
            **reached,
        }
    return limits | {"torch": reached}


def _data_sheet(name: str) -> dict | None:
    for part, (flops, bytes_) in DATA_SHEETS.items():
        if part in name:
            return {"source": f"data sheet of the {part}", "flops_per_s": flops, "bytes_per_s": bytes_}
    return None


def _c_rates(megabytes: int) -> dict | None:
    """None where no compiler is found, or none that makes a program for this processor."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "machine_rates"
        for target in ("-march=native", "-mcpu=native"):  # the second for older compilers on Arm
            command = [compiler, "-O3", target, "-ffp-contract=fast", "-o", program, Path(__file__).with_suffix(".c")]
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                measured = subprocess.run([program, str(megabytes)], capture_output=True, check=True)
                return {"source": "measured by machine_rates.c"} | json.loads(measured.stdout)
    return None


def _numpy_rates(megabytes: int) -> dict:
    side, memory = 1024, np.ones(megabytes << 18, dtype=np.float32)
    matrix = np.ones((side, side), dtype=np.float32)
    return {
        "source": "measured with NumPy, which is no upper limit: no C compiler was found",
        "flops_per_s": 2 * side**3 / _shortest_s(lambda: matrix @ matrix),
        "bytes_per_s": memory.nbytes / _shortest_s(memory.max),
    }


def _torch_rates(device: str, dtype, megabytes: int) -> dict:
    side = 4096 if device == "cuda" else 1024
    matrix = torch.randn(side, side, device=device, dtype=dtype)
    memory = torch.ones(megabytes << 18, device=device)
    return {
        "flops_per_s": 2 * side**3 / _shortest_s(lambda: matrix @ matrix),
        "bytes_per_s": memory.nbytes / _shortest_s(memory.sum),
    }


def _shortest_s(run_once: Callable[[], object]) -> float:
    return min(timed_ms(run_once) for _ in range(_REPEATS)) / 1e3
