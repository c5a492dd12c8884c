"""All that has to be measured on a GPU, in one run of ten minutes: for the day on which one is at hand.

Parts, each a program with a time limit of its own, so that one that fails or hangs costs the others nothing:

    tests           the tests that need a GPU
    engine          decoding and prefill at the size of MolmoE-1B beside transformers (engine.py)
    model           the embedded study's model, prepared (embedded_model.py)
    repeatability   how well the embedded study's latencies repeat in separate processes (repeatability.py)
    study           core_exp and one cell at the size of MolmoE-1B (random_study.py)

    python benchmarks/gpu_session.py --output measured/         # on a GPU
    python benchmarks/gpu_session.py --dry-run                  # says what it would do
    python benchmarks/gpu_session.py --miniature --output try/  # the same parts on a CPU, tiny

Needs the library's dependencies without Snakemake, transformers and pytest, the repository, and no network. Writes
session.json (everything) and session.txt (the summary, with the targets) into `--output`, after each part anew.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAST_LINES = 40  # of a part's output, for the record


@dataclass(frozen=True)
class Part:
    """Attributes:
    command: arguments of Python; one that ends in a record gets `--output`.
    """

    name: str
    command: tuple[str, ...]
    limit_s: int
    has_record: bool = True


@dataclass(frozen=True)
class Target:
    """A number that should be `most` or less; `find` reads it from the parts' records, or raises KeyError."""

    name: str
    unit: str
    most: float
    find: Callable[[dict], float]


def main() -> int:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("gpu_session"), help="directory for the results")
    parser.add_argument("--miniature", action="store_true", help="tiny and on a CPU, to try the session out")
    parser.add_argument("--dry-run", action="store_true", help="say what would run, run nothing")
    args = parser.parse_args()
    output = args.output.absolute()
    todo = parts(output, args.miniature)
    if args.dry_run:
        for part in todo:
            print(f"{part.name}, {part.limit_s} s at most: python {shlex.join(part.command)}")
        print(f"together {sum(part.limit_s for part in todo)} s at most; then {output}/session.json and session.txt")
        for target in TARGETS:
            print(f"target: {target.name} <= {target.most:g} {target.unit}")
        return 0
    output.mkdir(parents=True, exist_ok=True)
    results = []
    for part in todo:
        print(f"{part.name} ...", flush=True)
        results.append(run_part(part, output))
        write_results(results, output, args.miniature)
    print((output / "session.txt").read_text(), end="")
    return int(any(result["problem"] for result in results))


def parts(output: Path, miniature: bool) -> list[Part]:
    device = "cpu" if miniature else "cuda"
    patience = 10 if miniature else 1  # a busy CPU may take its time
    embedded = str(output / "embedded")
    config = ["config.yaml", f"{embedded}/device.yaml"]  # of the embedded study, on this device
    engine, repeatability, study = ["--device", device], ["--runs", "3"], ["--device", device]
    if miniature:
        engine += "--size small --tokens 20 --decode-tokens 2 --repeats 1".split()
        repeatability = "--runs 2 --samples 1 --configs low-k4-b12 high-k8-b16".split()
        config.append("benchmarks/miniature.yaml")
        study += "--size small --samples 1 --repeats 1 --max-warmup 1".split()
    repeatability += ["--config", *config, "--results", embedded]
    return [
        Part("tests", ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gpu"), 100 * patience, has_record=False),
        Part("engine", ("benchmarks/engine.py", *engine), 220 * patience),
        Part("model", ("benchmarks/embedded_model.py", "--device", device, embedded), 40 * patience, has_record=False),
        Part("repeatability", ("benchmarks/repeatability.py", *repeatability), 90 * patience),
        Part("study", ("benchmarks/random_study.py", *study), 140 * patience),
    ]


def run_part(part: Part, output: Path) -> dict:
    """Runs it to its end or its limit. `problem` is None, or what went wrong."""
    record, log = output / f"{part.name}.json", output / f"{part.name}.log"
    record.unlink(missing_ok=True)
    command = [sys.executable, *part.command, *(["--output", str(record)] if part.has_record else [])]
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    started = time.monotonic()
    with log.open("w") as lines:
        # A session of its own, so that its limit ends its processes as well.
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"},
            stdout=lines,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(part.limit_s)
            problem = f"it ended with exit code {status}" if status else None
        except subprocess.TimeoutExpired:
            problem = f"it was stopped at its limit of {part.limit_s} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if problem is None and part.has_record and not record.is_file():
        problem = "it wrote no record"
    return {
        "part": part.name,
        "command": shlex.join(part.command),
        "seconds": time.monotonic() - started,
        "problem": problem,
        "last_lines": log.read_text(errors="replace").splitlines()[-LAST_LINES:],
        "record": json.loads(record.read_text()) if record.is_file() else None,
    }


def write_results(results: list[dict], output: Path, miniature: bool) -> None:
    (output / "session.json").write_text(json.dumps({"miniature": miniature, "parts": results}, indent=1) + "\n")
    (output / "session.txt").write_text("\n".join(summary(results, miniature)) + "\n")


def summary(results: list[dict], miniature: bool) -> list[str]:
    lines = ["A miniature on a CPU: no figure below says anything about a GPU.", ""] if miniature else []
    for result in results:
        lines.append(f"{result['part']}: {result['problem'] or 'done'} ({result['seconds']:.0f} s)")
        if result["problem"] or result["record"] is None:
            lines += [f"    {line}" for line in result["last_lines"][-3:]]
    lines.append("")
    records = {result["part"]: result["record"] for result in results if result["record"]}
    for target in TARGETS:
        try:
            value = target.find(records)
        except KeyError:
            lines.append(f"{target.name}: not measured (target: at most {target.most:g} {target.unit})")
            continue
        verdict = "" if miniature else " kept" if value <= target.most else " MISSED"
        lines.append(
            f"{target.name}: {value:.3g} {target.unit} (target: at most {target.most:g} {target.unit}){verdict}"
        )
    for stage, name in records.get("engine", {}).get("strongest_peers", {}).items():
        ratio = records["engine"]["ratios"][f"{name} / {stage} k8-b16"]
        lines.append(
            f"{name}, the strongest peer, takes {ratio['value']:.2f} times as long as the engine "
            f"(95 % interval {ratio['low']:.2f} to {ratio['high']:.2f})"
        )
    return lines


def _median_ms(records: dict, beginning: str) -> float:
    for case in records["engine"]["cases"]:
        if case["name"].startswith(beginning):
            return case["median_ms"]
    raise KeyError(beginning)


TARGETS = [
    Target("a decoded token, top-8, 16 blocks", "ms", 1.5, lambda records: _median_ms(records, "decode k8-b16")),
    Target("7 crops to the first token", "ms", 20.0, lambda records: _median_ms(records, "request, 7 crops")),
    Target(
        "largest coefficient of variation between processes",
        "%",
        2.0,
        lambda records: max(records["repeatability"]["variation_pct"].values()),
    ),
]


if __name__ == "__main__":
    sys.exit(main())
