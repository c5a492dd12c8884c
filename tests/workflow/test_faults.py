"""What goes wrong on real machines. Afterwards the results are the same to the byte, or one sentence says what to do.

With --repetitions every fault is tried several times, at other random moments: docs/reliability.md has the outcome.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest
from mini_study import Study, only_error

from adamolmo.errors import AdaMolmoError
from adamolmo.files.core_exp import CORE_EXP, CORE_EXP_ACCURACY
from adamolmo.files.documents import sealed
from adamolmo.files.evaluation import EVALUATION
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import read_table
from adamolmo.files.summary import SUMMARY
from adamolmo.files.training import TRAINING

CELL = "results/eval/okvqa/lookup-mean/60pct.json"
LOOKUP = "results/lookup"
TABLES = {
    "results/data/okvqa/profile.parquet": SAMPLES,
    "results/core_exp/accuracy/okvqa-low-0.parquet": CORE_EXP_ACCURACY,
    "results/core_exp/okvqa.parquet": CORE_EXP,
    "results/controllers/single-stage-mlp/training.parquet": TRAINING,
    "results/eval/okvqa/lookup-mean/60pct.parquet": EVALUATION,
    "results/summary.parquet": SUMMARY,
}


def bytes_of(study: Study, folder: str) -> dict[str, bytes]:
    return {str(path.relative_to(study.directory)): path.read_bytes() for path in study.path(folder).rglob("*.*")}


def job_of(study: Study) -> psutil.Process | None:
    """The script that a Snakemake in this study's directory is running."""
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            is_script = any("workflow/scripts/" in word for word in command[1:6])  # behind what starts it
            if is_script and "python" in command[0] and process.cwd() == str(study.directory):
                return process
        except psutil.Error:  # ended meanwhile, or is somebody else's
            continue
    return None


def wait_for(found: Callable, process: "subprocess.Popen[str]"):
    """What `found` returns as soon as it is something; fails when the process ends before."""
    while (value := found()) is None:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    return value


def start_job(study: Study, target: str) -> tuple["subprocess.Popen[str]", psutil.Process]:
    """Snakemake, and the script by which it is making `target` again."""
    process = study.start("--force", "--", target)
    return process, wait_for(lambda: job_of(study), process)


def test_sigkill_of_a_job(study, repetition):
    expected = bytes_of(study, LOOKUP)
    process, job = start_job(study, f"{LOOKUP}/mean.json")
    time.sleep(random.Random(repetition).uniform(0, 2))
    with suppress(psutil.NoSuchProcess):  # it was faster
        job.kill()
    output, _ = process.communicate()
    if process.returncode:
        assert "failed: controllers: Lookup tables over all datasets" in output
        again = study.snakemake("--", f"{LOOKUP}/mean.json")
        assert again.returncode == 0, again.output
    assert bytes_of(study, LOOKUP) == expected


def test_sigkill_of_snakemake_alone(study, repetition):
    """Its job is stopped, or ends and writes nothing; the lock that is left says how to remove it."""
    cell = os.path.dirname(CELL)
    expected = bytes_of(study, cell)
    process, _ = start_job(study, CELL)
    time.sleep(random.Random(repetition).uniform(0, 0.5))
    os.kill(process.pid, signal.SIGKILL)
    output, _ = process.communicate()  # until the job, which has the same standard output, has ended too
    assert "left as it was, because the Snakemake that started this job has ended." in output or (
        "this job was stopped, because the Snakemake that started it has ended" in output
    )
    assert not study.path(CELL).exists()

    locked = study.snakemake("--", CELL)
    assert locked.returncode == 1
    assert "Directory cannot be locked" in locked.output and "--unlock" in locked.output
    assert study.snakemake("--unlock").returncode == 0
    again = study.snakemake("--", CELL)
    assert again.returncode == 0, again.output
    assert bytes_of(study, cell) == expected


def test_two_snakemakes_at_once(study, repetition):
    """The second is refused while the first is at work, which goes on unharmed."""
    cell = os.path.dirname(CELL)
    expected = bytes_of(study, cell)
    first, job = start_job(study, CELL)
    job.suspend()  # so that it is at work for as long as the second one tries
    second = study.snakemake("--force", "--", CELL)
    job.resume()
    output, _ = first.communicate()
    assert second.returncode == 1
    assert "sure that no other Snakemake process is trying to create the same files" in second.output
    assert first.returncode == 0, output
    assert bytes_of(study, cell) == expected


FILL_AND_RUN = """
set -e
mount -t tmpfs -o size=64k tmpfs results/lookup
dd if=/dev/zero of=results/lookup/filler bs=1k count=$1 2> /dev/null || true
shift
"$@" && exit 3
ls -A results/lookup
rm results/lookup/filler
"$@"
cp results/lookup/* refilled/
"""


def test_full_disk(study, repetition):
    """A small file system of its own for the lookup tables: full, then with room again."""
    mounts = ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*mounts, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a file system")
    expected = {path.name: path.read_bytes() for path in study.path(LOOKUP).glob("*.json")}
    study.path("refilled").mkdir()
    free_kb = random.Random(repetition).choice([0, 4, 8])
    run = study.command("--", f"{LOOKUP}/mean.json")
    process = study.run([*mounts, "bash", "-c", FILL_AND_RUN, "bash", str(64 - free_kb), *run])
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "Traceback" not in output
    (error,) = {line for line in output.splitlines() if line.startswith("error: ")}
    assert error.startswith(f"error: {LOOKUP}/") and "No space left on device); make room for it" in error
    assert "\nfiller\n" in output and ".tmp" not in output
    assert {path.name: path.read_bytes() for path in study.path("refilled").iterdir()} == expected


def test_a_parquet_cut_short(finished, tmp_path, repetition):
    """Wherever it is cut, reading it is one sentence with the file's name."""
    moments = random.Random(repetition)
    for name, schema in TABLES.items():
        content = finished.path(name).read_bytes()
        path = tmp_path / "cut.parquet"
        for length in [0, 4, len(content) - 1, *(moments.randrange(len(content)) for _ in range(5))]:
            path.write_bytes(content[:length])
            with pytest.raises(
                AdaMolmoError, match=r"cut\.parquet: cannot be read .* run Snakemake again to remake it"
            ):
                read_table(path, schema)


def test_results_of_another_folder(study, config, tmp_path):
    """Results alone do not say which configuration made them; with Snakemake's records, or when told, all goes on."""
    elsewhere = Study.clone(tmp_path / "elsewhere")
    shutil.copytree(study.path("results"), elsewhere.path("results"))
    error = only_error(elsewhere.snakemake("--dry-run"))
    assert error.startswith("results: was not made in this folder")
    told = elsewhere.snakemake("--touch", "--forceall")
    assert told.returncode == 0, told.output
    assert elsewhere.plan() == {}
    assert elsewhere.plan(configs=(config("bootstrap: {resamples: 51}"),))["evaluate"] == 30

    shutil.rmtree(elsewhere.path(".snakemake"))
    shutil.copytree(study.path(".snakemake"), elsewhere.path(".snakemake"))
    assert "bring the .snakemake that belongs to it" in only_error(elsewhere.snakemake("--dry-run"))
    shutil.copytree(study.path("results"), elsewhere.path("results"), dirs_exist_ok=True)
    assert elsewhere.plan() == {}


def test_a_cell_of_another_device(study):
    path, summary = study.path(CELL), study.path("results/summary.parquet")
    expected = summary.read_bytes()
    cell = json.loads(path.read_text())
    path.write_text(json.dumps(sealed(cell | {"clock": "measured", "device": {"kind": "cuda", "name": "another"}})))
    error = only_error(study.snakemake("--allowed-rules", "summarise", "--", "results/summary.parquet"))
    assert "expected one clock in a summary." in error
    path.write_text(json.dumps(cell, indent=1) + "\n")
    assert study.snakemake("--", "results/summary.parquet").returncode == 0
    assert summary.read_bytes() == expected


def test_a_profile_of_another_device(study, config):
    measured = config("latency: {clock: measured}")
    error = only_error(study.snakemake("--allowed-rules", "evaluate", "--", CELL, configs=(measured,)))
    assert error.startswith("the profile's clock is modelled, but this evaluation's is measured")
