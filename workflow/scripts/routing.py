"""Writes what every configuration answered, and how long it took, in the layouts of benchmarks of routing."""

from argparse import ArgumentParser
from pathlib import Path

from adamolmo.core_exp.reading import read_profiles
from adamolmo.files.columns import KNOBS
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import read_table
from adamolmo.jobs.script import run
from adamolmo.report.routing import TEST, TRAIN, collect, write_routerbench, write_vl_routerbench

_COLUMNS = ["dataset", "sample_id", *KNOBS, "prediction", "accuracy", "latency_ms", "latency_source"]


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="the directory to write")
    for name, meaning in {
        "profile": "every configuration on the questions of the profile split, by dataset",
        "grid": "the same on those of the evaluation split",
        "profiled": "samples of the profile split",
        "evaluated": "samples of the evaluation split",
        "features": "of the profiled samples",
    }.items():
        parser.add_argument(f"--{name}", type=Path, nargs="+", required=True, help=meaning)
    args = parser.parse_args()
    outcomes = {split: read_profiles(paths, _COLUMNS)[0] for split, paths in ((TRAIN, args.profile), (TEST, args.grid))}
    samples = {
        split: {path.parent.name: read_table(path, SAMPLES)[0] for path in paths}
        for split, paths in ((TRAIN, args.profiled), (TEST, args.evaluated))
    }
    routing = collect(outcomes, samples)
    args.output.mkdir(parents=True, exist_ok=True)
    write_routerbench(routing, args.output / "routerbench.parquet")
    write_vl_routerbench(routing, args.features, args.output)


if __name__ == "__main__":
    run(main)
