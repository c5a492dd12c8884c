import json
import os
import signal
import subprocess
import sys

import pytest

from adamolmo.errors import AdaMolmoError
from adamolmo.inference.device import claim_device, describe_device

HOLD = """
import os, sys, time
from adamolmo.inference.device import claim_device
with claim_device("cpu") as name:
    assert os.sched_getaffinity(0) == {int(name.removeprefix("core-"))}, "not pinned"
    print(name, flush=True)
    time.sleep(float(sys.argv[1]))
    print("released", time.monotonic(), flush=True)
"""
NUM_CORES = len(os.sched_getaffinity(0))


def hold(directory, seconds) -> subprocess.Popen:
    environment = os.environ | {"TMPDIR": str(directory), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLD, str(seconds)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_hold_different_cores_and_one_more_waits(tmp_path):
    holders = [hold(tmp_path, 2.0) for _ in range(NUM_CORES + 1)]
    outputs = sorted(
        (process.communicate(timeout=60)[0].split() for process in holders), key=lambda words: float(words[2])
    )
    assert all(process.returncode == 0 for process in holders)
    assert len({words[0] for words in outputs[:NUM_CORES]}) == NUM_CORES
    waited, first_release = float(outputs[-1][2]), float(outputs[0][2])
    assert waited >= first_release + 2.0  # it slept its 2 s only after a core had become free


def test_killed_holder_frees_its_core(tmp_path):
    holders = [hold(tmp_path, 60) for _ in range(NUM_CORES)]
    names = [process.stdout.readline().strip() for process in holders]
    late = hold(tmp_path, 0)
    assert late.stderr.readline().startswith("waiting until one of core-"), "a core was given out twice"
    holders[0].send_signal(signal.SIGKILL)
    assert late.communicate(timeout=30)[0].split()[0] == names[0]
    for process in holders:
        process.kill()
        process.wait()


def test_another_user_can_claim_after_one_with_a_private_umask(tmp_path, monkeypatch):
    before = os.umask(0o077)
    try:
        assert hold(tmp_path, 0).wait() == 0
    finally:
        os.umask(before)
    locks = list(tmp_path.glob("adamolmo-core-*.lock"))
    assert locks and all(path.stat().st_mode & 0o777 == 0o644 for path in locks)

    def protected(path, flags, *mode, opened=os.open):
        """As a kernel with fs.protected_regular opens another user's files."""
        if flags & os.O_CREAT and path in locks:
            raise PermissionError(path)
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", protected)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with claim_device("cpu") as name:
        assert tmp_path / f"adamolmo-{name}.lock" in locks


@pytest.fixture
def one_core(tmp_path, monkeypatch):
    """The lock file of the only core that is asked for."""
    core = min(os.sched_getaffinity(0))
    monkeypatch.setattr("adamolmo.inference.device._allowed_cores", lambda: {core})
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"adamolmo-core-{core}.lock"


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_in_the_place_of_a_lock_changes_no_file(one_core, tmp_path, exists):
    """Another user may have put it there, to a file that only its owner should read."""
    secret = tmp_path / "secret"
    if exists:
        secret.touch(0o600)
    one_core.symlink_to(secret)
    with (
        pytest.raises(AdaMolmoError, match=r"lock: cannot be opened as a lock \(a symbolic link\)"),
        claim_device("cpu"),
    ):
        pass
    assert secret.exists() == exists
    assert not exists or secret.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "directory"])
def test_what_is_no_file_is_one_sentence_and_nothing_waits(one_core, make):
    make(one_core)
    with pytest.raises(AdaMolmoError, match=r"cannot be opened as a lock \(no regular file\)"), claim_device("cpu"):
        pass


def test_a_lock_that_is_there_keeps_its_mode_and_content(one_core):
    one_core.write_text("somebody's")
    one_core.chmod(0o640)
    with claim_device("cpu"):
        assert one_core.stat().st_mode & 0o777 == 0o640
    assert one_core.read_text() == "somebody's"


def test_importing_it_does_not_import_torch():
    script = "import sys, adamolmo.inference.device; assert 'torch' not in sys.modules"
    subprocess.run(
        [sys.executable, "-c", script], check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )


def test_claim_limits_threads_and_restores_the_cores(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with claim_device("cpu"):
            assert len(os.sched_getaffinity(0)) == 1
            assert torch.get_num_threads() == 1
        assert os.sched_getaffinity(0) == before
    finally:
        torch.set_num_threads(threads)


def test_gpu_is_refused_in_one_sentence_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AdaMolmoError, match="nvidia-smi finds no GPU"), claim_device("cuda"):
        pass


@pytest.fixture
def two_gpus(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf '0, GPU-a\\n1, GPU-b\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("visible", "name"), [(None, "gpu-GPU-a"), ("1", "gpu-GPU-b"), ("GPU-b", "gpu-GPU-b"), ("", None)]
)
def test_gpus_are_claimed_by_uuid(two_gpus, monkeypatch, visible, name):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    if name is None:
        with pytest.raises(AdaMolmoError, match="hides every GPU"), claim_device("cuda"):
            pass
        return
    with claim_device("cuda") as claimed:
        assert claimed == name
        assert os.environ["CUDA_VISIBLE_DEVICES"] == name.removeprefix("gpu-")


def test_a_model_over_two_gpus_waits_until_both_are_free(two_gpus, monkeypatch):
    """And holds none of them meanwhile: two such jobs would wait for each other for ever."""
    one = claim_device("cuda")
    assert one.__enter__() == "gpu-GPU-a"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        with claim_device("cuda") as other:
            assert other == "gpu-GPU-b"
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        one.__exit__(None, None, None)

    monkeypatch.setattr("adamolmo.inference.device.time.sleep", sleep)
    with claim_device("cuda", gpus=2) as both:
        assert both == "gpu-GPU-a gpu-GPU-b"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"
    assert len(waited) == 1


def test_more_gpus_than_there_are_is_one_sentence(two_gpus):
    with pytest.raises(AdaMolmoError, match=r"model.gpus is 3; this node has 2 for this job"), claim_device("cuda", 3):
        pass


def test_device_description_names_the_hardware_and_not_the_machine():
    import platform

    description = describe_device("cpu")
    assert description["kind"] == "cpu"
    assert description["name"]
    assert description["cores"] == os.cpu_count()
    assert platform.node() not in description.values()


def test_memory_management_belongs_to_what_is_measured():
    """In a process of its own, whose allocator the claim changes for good."""
    code = """
import ctypes, json, os
from adamolmo.inference.device import claim_device, describe_device
before = describe_device("cpu")
with claim_device("cpu"):
    print(json.dumps([before, describe_device("cpu"), describe_device("cpu", "modelled")]))
"""
    settings = "THP_MEM_ALLOC_ENABLE", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"
    environment = {name: value for name, value in os.environ.items() if name not in settings}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    before, measured, modelled = json.loads(run.stdout)
    assert [before[name] for name in settings] == ["default"] * 3
    assert [measured[name] for name in settings] == ["1", str(32 * 2**20), str(2**30)]
    assert not modelled.keys() & set(settings)


FAULTS = """
import resource, sys
from contextlib import nullcontext
from adamolmo.inference.device import claim_device
with claim_device("cpu") if sys.argv[1] == "claimed" else nullcontext():
    import torch
    torch.set_num_threads(1)
    def work():
        for _ in range(20):
            torch.ones(2**18).add(1)  # two of 1 MiB, freed at once
    work()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [work() for _ in range(5)]
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_freed_memory_is_not_given_back_to_the_kernel():
    def faults(how):
        run = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
        return int(run.stdout)

    assert faults("claimed") < 100
