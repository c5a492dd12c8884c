"""What every configuration took on a dataset's profiled questions: mean and quantiles."""

import argparse
from pathlib import Path

from adamolmo.controllers.response import spent
from adamolmo.core_exp.reading import read_profiles
from adamolmo.files.columns import KNOBS
from adamolmo.files.documents import read_json, write_json
from adamolmo.files.governor import ConfigLatency
from adamolmo.files.lookup import ExpectedLatencyFile
from adamolmo.jobs.script import run
from adamolmo.knobs import KnobConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core-exp", type=Path, required=True)
    parser.add_argument("--expected", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    profile, _ = read_profiles([args.core_exp], [*KNOBS, "latency_ms"])
    groups = profile.groupby([*KNOBS], observed=True)["latency_ms"]
    scatter = read_json(args.expected, ExpectedLatencyFile).scatter_pct / 100
    by_config = {
        str(KnobConfig(*knobs)): spent(latencies_ms.to_numpy(float), scatter) for knobs, latencies_ms in groups
    }
    write_json(ConfigLatency(configurations=by_config), args.output)


if __name__ == "__main__":
    run(main)
