"""What `snakemake --dry-run --quiet` costs: the study on MolmoE-1B as configured, and a full-size one.

    python benchmarks/planning.py [--shards 100]

The full-size study has nine datasets, eight budgets, twelve controllers with the oracle, and `--shards` jobs per
dataset and tier. Each is planned twice: for its CPU time, and in a profiler, which tells the number of jobs and the
functions that take longest (in s, several times what they take without the profiler).
"""

import json
import pstats
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from arguments import benchmark_parser, write_record

ROOT = Path(__file__).parents[1]
MOLMOE = ROOT / "config" / "molmoe-1b.yaml"
MORE_DATASETS = ["doc_qa", "st_qa", "science_qa_img", "tally_qa", "gqa", "vizwiz"]
CONTROLLERS = [
    *("static-full", "lookup-mean", "lookup-median", "lookup-max_accuracy", "tier-only", "topk-only", "blocks-only"),
    *("two-stage-budget", "two-stage-language", "single-stage-mlp", "single-stage-transformer", "oracle"),
]
HEAVY_PACKAGES = ("torch", "transformers", "matplotlib", "pyarrow")
# What must not be called for every job (the first two), or not more often for each of them the more there are.
WATCHED = ("study.py:subset", "code_files.py:code_files", "dag.py:collect_potential_dependencies")


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--shards", type=int, default=100, help="jobs per dataset and tier of the full-size study")
    args = parser.parse_args()
    record = {}
    with tempfile.TemporaryDirectory() as folder:
        full = Path(folder, "full.yaml")
        full.write_text(json.dumps(full_size(args.shards)))
        for name, configs in {"molmoe-1b": (MOLMOE,), "full size": (MOLMOE, full)}.items():
            cpu_s = plan(Path(folder, f"{name}, timed"), *configs)
            profile = profile_plan(Path(folder, f"{name}, profiled"), *configs)
            print(f"{name}: {profile.jobs} jobs, {cpu_s:.1f} s of CPU")
            print("\n".join(f"  {function:45} {seconds:6.2f} s" for function, seconds in profile.slowest_s.items()))
            record[name] = {"cpu_s": cpu_s, **asdict(profile)}
    write_record(record, args.output)


def full_size(shards: int) -> dict:
    """What a full-size study sets beyond config/molmoe-1b.yaml."""
    splits = {"importance": "train", "profile": "train", "evaluation": "validation"}
    return {
        "datasets": {
            name: {"source": "hub", "path": f"owner/{name}", "splits": splits, "style": name, "scorer": "vqa"}
            for name in MORE_DATASETS
        },
        "core_exp": {"shards": shards},
        "controllers": CONTROLLERS,
    }


def plan(folder: Path, *configs: Path, options: Sequence[str | Path] = ()) -> float:
    """Plans the study in a new folder, where nothing has been made yet; returns the CPU time of the process in s.

    Args:
        options: of Python, before `-m snakemake`.
    """
    folder.mkdir()
    command = [sys.executable, *options, "-m", "snakemake", "--dry-run", "--quiet", "--snakefile", ROOT / "Snakefile"]
    command += ["--directory", folder, "--configfile", *configs]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if run.returncode:
        raise SystemExit(f"error: planning failed: {run.stdout}{run.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@dataclass(frozen=True)
class Profile:
    """Attributes:
    jobs: how many were planned.
    calls: of the WATCHED functions (file:name).
    slowest_s: the functions that took longest by themselves.
    heavy_packages: which of HEAVY_PACKAGES were imported for it, beyond what Snakemake's own plugins import.
    """

    jobs: int
    calls: dict[str, int]
    slowest_s: dict[str, float]
    heavy_packages: list[str]


def profile_plan(folder: Path, *configs: Path) -> Profile:
    """The same in a profiler."""
    with tempfile.NamedTemporaryFile() as file:
        plan(folder, *configs, options=["-m", "cProfile", "-o", file.name])
        stats = pstats.Stats(file.name).stats
    calls: Counter[str] = Counter()
    for (path, _, name), (_, number, *_) in stats.items():
        calls[f"{Path(path).name}:{name}"] += number
    by_time = sorted(stats, key=lambda key: stats[key][2], reverse=True)
    slowest_s = {f"{Path(path).name}:{name}": round(stats[path, line, name][2], 2) for path, line, name in by_time[:15]}
    heavy_packages = sorted(_heavy_packages(stats) - _of_snakemake())
    return Profile(calls["dag.py:cache_job"], {name: calls[name] for name in WATCHED}, slowest_s, heavy_packages)


@cache
def _of_snakemake() -> set[str]:
    """The heavy packages that Snakemake imports without a study."""
    with tempfile.NamedTemporaryFile() as file:
        command = [sys.executable, "-m", "cProfile", "-o", file.name, "-m", "snakemake", "--version"]
        subprocess.run(command, capture_output=True, check=True)
        return _heavy_packages(pstats.Stats(file.name).stats)


def _heavy_packages(stats: Mapping) -> set[str]:
    return {name for name in HEAVY_PACKAGES if any(f"/site-packages/{name}/" in path for path, *_ in stats)}


if __name__ == "__main__":
    main()
