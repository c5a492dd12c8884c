"""Jobs through the server that forks them: they behave as jobs of their own, and end when they should."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adamolmo.files.launcher import LAUNCHER, launcher
from adamolmo.jobs import start

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")

SERVED = """
import sys
from adamolmo.jobs import fork_server
status = fork_server.run_job(["none", "0", *sys.argv[1:]], preloaded=("colorsys",))
print("no server") if status is None else sys.exit(status)
"""
SCRIPT = """
import json, os, sys
print(json.dumps({
    "argv": sys.argv[1:], "pid": os.getpid(), "server": os.getppid(), "directory": os.getcwd(),
    "preloaded": "colorsys" in sys.modules, "model": "adamolmo.model.loading" in sys.modules,
    "word": os.environ.get("WORD"), "input": sys.stdin.read(),
}))
print("to the log", file=sys.stderr)
"""


@pytest.fixture
def snakemake():
    """Stands for the process that jobs belong to."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def job(tmp_path, snakemake):
    """Runs a script as a job in the study's folder; returns the finished process."""
    (tmp_path / ".snakemake").mkdir()
    environment = os.environ | {LAUNCHER: launcher(snakemake.pid)}

    def run(text: str, *arguments: str, wait: bool = True, **changes: str):
        script = tmp_path / f"script{len(list(tmp_path.iterdir()))}.py"
        script.write_text(text)
        process = subprocess.Popen(
            [sys.executable, "-c", SERVED, str(script), *arguments],
            cwd=tmp_path,
            env=environment | changes,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if not wait:
            return process
        output, errors = process.communicate("some input", timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    return run


def ends(pid: int) -> bool:
    """Within a few seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists() or "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
            return True
        time.sleep(0.05)
    return False


def test_a_job_has_its_own_arguments_environment_directory_and_streams(job, tmp_path):
    done = job(SCRIPT, "--one", "two words", WORD="given")
    told = json.loads(done.stdout)
    assert (told["argv"], told["word"], told["input"]) == (["--one", "two words"], "given", "some input")
    assert told["directory"] == str(tmp_path)
    assert (done.stderr, done.returncode) == ("to the log\n", 0)


def test_all_jobs_of_one_snakemake_share_one_server_with_its_imports(job):
    together = [job(SCRIPT, wait=False) for _ in range(4)]
    told = [json.loads(process.communicate("", timeout=60)[0]) for process in together]
    assert len({one["server"] for one in told}) == 1
    assert len({one["pid"] for one in told}) == 4
    assert all(one["preloaded"] for one in told)
    assert json.loads(job(SCRIPT).stdout)["word"] is None


def test_the_models_code_is_imported_once_it_is_prepared(job, tmp_path):
    assert json.loads(job(SCRIPT).stdout)["model"] is False
    (tmp_path / "results/model").mkdir(parents=True)
    (tmp_path / "results/model/config.json").write_text("{}")
    (tmp_path / "results/model/manifest.json").write_text("{}")
    assert json.loads(job(SCRIPT).stdout)["model"] is True


def test_a_model_of_an_unknown_kind_does_not_stop_the_server(job, tmp_path):
    (tmp_path / "results/model").mkdir(parents=True)
    (tmp_path / "results/model/config.json").write_text('{"model_type": "unknown"}')
    (tmp_path / "results/model/manifest.json").write_text("{}")
    told = json.loads(job(SCRIPT).stdout)
    assert (told["preloaded"], told["model"]) == (True, False)


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('one sentence')", 1, "one sentence\n"),
        ("from adamolmo.errors import AdaMolmoError\nraise AdaMolmoError('bad input')", 1, "error: bad input\n"),
        ("import os\nos.kill(os.getpid(), 9)", 137, ""),
        ("import os\nos._exit(0)", 0, ""),
    ],
)
def test_a_job_ends_as_its_script_does(job, text, status, said):
    done = job(text)
    assert (done.returncode, done.stderr) == (status, said)


def test_a_fault_of_the_script_shows_its_traceback(job):
    done = job("1 / 0")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback") and done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")


@pytest.fixture
def sleeping(job):
    """A job that sleeps, and its child's and its server's process number."""
    process = job("import os, time\nprint(os.getpid(), os.getppid(), flush=True)\ntime.sleep(600)", wait=False)
    child, server = map(int, process.stdout.readline().split())
    yield process, child, server
    process.kill()
    process.wait()


def test_what_nobody_waits_for_is_stopped(sleeping, job):
    process, child, server = sleeping
    process.kill()
    assert ends(child)
    assert json.loads(job(SCRIPT).stdout)["server"] == server


def test_the_server_ends_with_its_snakemake_and_takes_its_jobs_along(sleeping, snakemake, tmp_path):
    process, child, server = sleeping
    snakemake.kill()
    snakemake.wait()
    assert ends(server) and ends(child)
    assert "was stopped, because the Snakemake that started it has ended" in process.stderr.read()
    assert list((tmp_path / ".snakemake").iterdir()) == []


def test_a_killed_server_is_one_sentence_and_the_next_job_has_another(sleeping, job):
    process, child, server = sleeping
    os.kill(server, 9)
    assert process.wait(timeout=20) == 1
    assert ends(child)
    assert process.stderr.read() == "error: this job was lost; run Snakemake again.\n"
    assert json.loads(job(SCRIPT).stdout)["server"] != server


def test_without_a_snakemake_of_this_machine_there_is_no_server(job, snakemake):
    assert job(SCRIPT, **{LAUNCHER: "999999-1"}).stdout == "no server\n"
    snakemake.kill()
    snakemake.wait()
    assert job(SCRIPT).stdout == "no server\n"


def test_the_one_job_of_a_clusters_snakemake_runs_by_itself(job):
    command = [sys.executable, "-c", "input()", "--target-jobs", "evaluate:"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as of_node:
        assert job(SCRIPT, **{LAUNCHER: launcher(of_node.pid)}).stdout == "no server\n"
        of_node.communicate(b"\n")


def test_a_module_that_cannot_be_imported_leaves_jobs_to_themselves(job, tmp_path):
    (tmp_path / "colorsys.py").write_text("raise ImportError('broken')")
    assert job(SCRIPT, PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}").stdout == "no server\n"


def test_a_script_runs_without_a_server_too(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["start"])
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint(sys.argv[1:])")
    start.execute(["none", "0", str(script), "--x", "1"])
    assert capfd.readouterr().out == "['--x', '1']\n"
