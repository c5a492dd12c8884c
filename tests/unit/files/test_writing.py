"""Files appear complete or not at all: on a full disk, beside another writer, after the end of who asked for them."""

import errno
import os
import re
import resource
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch
from made_documents import ORIGIN, reference
from matplotlib.figure import Figure
from safetensors.torch import save_file

from adamolmo.controllers.table import Entry, LookupTable, save_table
from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import write_json
from adamolmo.files.launcher import LAUNCHER, launcher
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import write_table
from adamolmo.files.writing import replacing
from adamolmo.knobs import KnobConfig
from adamolmo.report.figures import style


@contextmanager
def largest_file(size_bytes: int):
    """Stands in for a full disk: nothing can be written beyond this size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def table(path):
    import pandas as pd

    sample = {"sample_id": ["a"], "image_id": ["i"], "image": [bytes(range(256)) * 9], "question": ["?"]}
    write_table(pd.DataFrame(sample | {"answers": [["1"]]}), path, SAMPLES)


def document(path):
    write_json(reference(device={"kind": "x" * 2000}), path)


def lookup_tables(path):
    entries = [Entry(KnobConfig("high", k, b), 0.5, 10.0 * k + b, 3) for k in range(1, 9) for b in range(1, 9)]
    save_table(LookupTable(entries), ORIGIN, path)


def tensors(path):
    with replacing(path) as temporary:
        save_file({"x": torch.arange(1000)}, temporary)


def figure(path):
    style.save(Figure(), path.with_suffix(""))


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (table, "samples.parquet"),
        (document, "reference.json"),
        (lookup_tables, "mean.json"),
        (tensors, "policy.safetensors"),
        (figure, "pareto.pdf"),
    ],
)
def test_full_disk(write, name, tmp_path):
    """One sentence with the file's name, nothing half written, the file of before kept; afterwards it goes on."""
    path = tmp_path / name
    path.write_text("before")
    with largest_file(500), pytest.raises(AdaMolmoError, match=rf"{name}: cannot be written \(.*File too large"):
        write(path)
    assert path.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    write(path)
    assert len(path.read_bytes()) > 500


def test_the_sentence_about_a_full_disk(tmp_path):
    with pytest.raises(AdaMolmoError) as raised, largest_file(10), replacing(tmp_path / "x", 2_400_000_000) as file:
        file.write_bytes(bytes(100))
    assert str(raised.value) == (
        f"{tmp_path / 'x'}: cannot be written (File too large); make room for it, which needs 2.4 GB, and run "
        "Snakemake again, which keeps all finished files."
    )


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(AdaMolmoError, match=r"x\.json: cannot be written"), replacing(tmp_path / "results/x.json"):
        pass


def test_other_errors_pass(tmp_path):
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "x") as file:
        file.write_text(str(1 / 0))
    assert list(tmp_path.iterdir()) == []


def test_two_writers_do_not_mix(tmp_path):
    """The file is that of the first to end, whole; the other one is told."""
    path = tmp_path / "x"

    def write_slowly():
        with replacing(path) as slow, open(slow, "w") as file:
            file.write("slow, ")
            with replacing(path) as fast:
                fast.write_text("fast")
            file.write("and late")

    with pytest.raises(AdaMolmoError, match="x: another process wrote it meanwhile"):
        write_slowly()
    assert path.read_text() == "fast"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writers_left_is_removed(tmp_path):
    kill = (
        "import os, signal, sys\nfrom adamolmo.files.writing import replacing\n"
        "with replacing(sys.argv[1]) as file:\n    file.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    path, neighbour = tmp_path / "x", tmp_path / ".y.12345678.tmp"
    neighbour.write_text("of another file")
    for _ in range(2):
        subprocess.run([sys.executable, "-c", kill, str(path)], check=False)
    assert not path.exists()
    assert len(list(tmp_path.glob(".x.*.tmp"))) == 2
    with replacing(path) as file:
        file.write_text("whole")
    assert sorted(tmp_path.iterdir()) == [neighbour, path]


def test_a_job_without_its_snakemake_writes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_text("of the next Snakemake")
    parent = subprocess.Popen(["sleep", "60"])
    monkeypatch.setenv(LAUNCHER, launcher(parent.pid))
    with replacing(path) as file:
        file.write_text("alive")
    assert path.read_text() == "alive"
    parent.kill()
    os.waitid(os.P_PID, parent.pid, os.WEXITED | os.WNOWAIT)  # dead, but still in the process table
    for _ in range(2):
        with pytest.raises(AdaMolmoError, match="left as it was, because"), replacing(path) as file:
            file.write_text("orphan")
        parent.wait()  # now gone from it
    assert path.read_text() == "alive"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reused_process_number_is_another_process(tmp_path, monkeypatch):
    own = launcher(os.getpid())
    assert re.fullmatch(r"\d+-\d+", own)
    monkeypatch.setenv(LAUNCHER, own + "1")
    with pytest.raises(AdaMolmoError, match="left as it was"), replacing(tmp_path / "x") as file:
        file.write_text("orphan")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EISDIR])
def test_a_forbidden_place_is_no_want_of_room(tmp_path, number):
    with pytest.raises(AdaMolmoError) as error, replacing(tmp_path / "x"):
        raise OSError(number, os.strerror(number))
    assert "expected a place that you may write to" in str(error.value)
    assert "room" not in str(error.value)
