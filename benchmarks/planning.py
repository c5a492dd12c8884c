"""What `snakemake --dry-run` costs: CPU time of planning the study on MolmoE-1B as configured, and a full-size one.

    python benchmarks/planning.py [--shards 100] [--profile]

The full-size study has nine datasets, eight budgets, twelve controllers with the oracle, and `--shards` jobs per
dataset and tier. `--profile` adds the functions that take longest (and makes everything slower). Prints JSON.
"""

import argparse
import json
import pstats
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOLMOE = ROOT / "config" / "molmoe-1b.yaml"
MORE_DATASETS = ["doc_qa", "st_qa", "science_qa_img", "tally_qa", "gqa", "vizwiz"]
CONTROLLERS = [
    *("static-full", "lookup-mean", "lookup-median", "lookup-max_accuracy", "tier-only", "topk-only", "blocks-only"),
    *("two-stage-budget", "two-stage-language", "single-stage-mlp", "single-stage-transformer", "oracle"),
]
HEAVY_PACKAGES = ("torch", "transformers", "matplotlib", "pyarrow")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        full = Path(folder, "full.yaml")
        full.write_text(json.dumps(full_size(args.shards)))
        records = {
            name: plan(Path(folder, name), *configs, profiled=args.profile)
            for name, configs in {"molmoe-1b": (MOLMOE,), "full size": (MOLMOE, full)}.items()
        }
    for name, record in records.items():
        print(f"{name}: {record['jobs']} jobs, {record['cpu_s']:.1f} s of CPU")
    print(json.dumps(records))


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


def plan(folder: Path, *configs: Path, profiled: bool = False) -> dict:
    """Plans the study where nothing has been made yet.

    Returns the number of jobs, the CPU time of the process in s, and if `profiled` also the calls per function
    (file:name) and which of HEAVY_PACKAGES were imported.
    """
    folder.mkdir()
    profile = folder / "profile"
    command = [sys.executable, *(["-m", "cProfile", "-o", profile] if profiled else []), "-m", "snakemake", "--dry-run"]
    command += ["--quiet", "rules", "--snakefile", ROOT / "Snakefile", "--directory", folder, "--configfile", *configs]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if run.returncode:
        raise SystemExit(f"error: planning failed: {run.stdout}{run.stderr}")
    record = {
        "jobs": int(re.search(r"^total +(\d+)$", run.stdout + run.stderr, re.MULTILINE)[1]),
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }
    return record | _of_profile(profile) if profiled else record


def _of_profile(path: Path) -> dict:
    stats = pstats.Stats(str(path)).stats
    calls: dict[str, int] = {}
    for (file, _, name), (_, number, *_) in stats.items():
        key = f"{Path(file).name}:{name}"
        calls[key] = calls.get(key, 0) + number
    by_time = sorted(stats, key=lambda key: stats[key][2], reverse=True)
    return {
        "slowest": {f"{Path(key[0]).name}:{key[2]}": round(stats[key][2], 2) for key in by_time[:15]},
        "calls": calls,
        "heavy_packages": [
            name for name in HEAVY_PACKAGES if any(f"/site-packages/{name}/" in file for file, *_ in stats)
        ],
    }


if __name__ == "__main__":
    main()
