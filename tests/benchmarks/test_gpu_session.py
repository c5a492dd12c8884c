import json
import subprocess
import sys

import gpu_session
from gpu_session import Part, run_part, summary, write_results
from mini_study import ROOT


def session(*arguments) -> subprocess.CompletedProcess:
    program = [sys.executable, ROOT / "benchmarks" / "gpu_session.py", *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def test_the_whole_session_runs_in_miniature(gpu_session_miniature):
    """What each part wrote, the tests of its program look at."""
    printed = (gpu_session_miniature.folder / "printed.txt").read_text()
    parts = gpu_session_miniature.results["parts"]
    assert [part["part"] for part in parts] == ["tests", "engine", "model", "repeatability", "study"]
    assert [part["problem"] for part in parts] == [None] * 5, printed
    text = (gpu_session_miniature.folder / "session.txt").read_text()
    assert printed.endswith(text)
    assert text.startswith("A miniature on a CPU")
    assert "not measured" not in text and text.count("(target: at most") == 3
    assert "the strongest peer, takes" in text


def test_a_dry_run_says_what_it_would_do_and_fits_ten_minutes(tmp_path):
    said = session("--dry-run", "--output", tmp_path / "new")
    assert said.returncode == 0 and not (tmp_path / "new").exists()
    parts = gpu_session.parts(tmp_path / "new", miniature=False)
    assert sum(part.limit_s for part in parts) <= 600
    for part in parts:
        assert f"{part.name}, {part.limit_s} s at most: python " in said.stdout
    assert "benchmarks/engine.py --device cuda" in said.stdout
    assert "target: a decoded token, top-8, 16 blocks <= 1.5 ms" in said.stdout


def test_a_part_that_hangs_is_stopped_with_all_that_it_started(tmp_path):
    started = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    result = run_part(Part("hangs", ("-c", f"print('so far', flush=True); {started}"), 2, has_record=False), tmp_path)
    assert result["problem"] == "it was stopped at its limit of 2 s"
    assert result["last_lines"] == ["so far"]
    assert result["seconds"] < 60


def test_a_part_that_fails_does_not_cost_the_others(tmp_path):
    record = "import json, sys; json.dump({'variation_pct': {'a': 1.0, 'b': 3.0}}, open(sys.argv[2], 'w'))"
    parts = [
        Part("engine", ("-c", "raise SystemExit('no memory')"), 60),
        Part("repeatability", ("-c", record), 60),
        Part("study", ("-c", "pass"), 60),
    ]
    results = [run_part(part, tmp_path) for part in parts]
    assert [result["problem"] for result in results] == ["it ended with exit code 1", None, "it wrote no record"]
    lines = summary(results, miniature=False)
    assert "    no memory" in lines
    assert "largest coefficient of variation between processes: 3 % (target: at most 2 %) MISSED" in lines
    assert "a decoded token, top-8, 16 blocks: not measured (target: at most 1.5 ms)" in lines
    write_results(results, tmp_path, miniature=False)
    assert json.loads((tmp_path / "session.json").read_text())["parts"] == results
