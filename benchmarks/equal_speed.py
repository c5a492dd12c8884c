"""How many requests of a study would have been late, had the machine been as fast in every cell as during the profile.

    python benchmarks/equal_speed.py [--results results]

A cell's slowdown is how much longer its reference request took than that of the cells of static-full, times how much
longer the requests of those took (median) than the profile of other questions says. Dividing latencies by it assumes
that everything slows down alike. Needs evaluated cells of static-full.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from adamolmo.controllers.roles import without_oracle
from adamolmo.result_files.core_exp import REFERENCE
from adamolmo.result_files.evaluation import EVALUATION
from adamolmo.result_files.summary import SUMMARY
from adamolmo.schema import read_json, read_table
from adamolmo.script import run

PER_DATASET = ["latency_p50_ms", "reference_request_ms"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"))
    results = parser.parse_args().results
    cells = without_oracle(read_table(results / "summary.parquet", SUMMARY)[0])
    cells = cells.assign(slowdown=slowdowns(cells, results))
    cells["late"], cells["late_at_equal_speed"] = np.transpose(
        [late_shares(cell, results) for cell in cells.itertuples()]
    )
    for column, title in {
        "slowdown": "Slowdown against the profile, mean over datasets",
        "late": "Requests over the budget, %",
        "late_at_equal_speed": "The same at the profile's speed, %",
    }.items():
        scale = 1 if column == "slowdown" else 100
        table = scale * cells.pivot_table(index="controller", columns="budget", values=column)
        print(f"{title}\n{table.round(2 if scale == 1 else 0).to_string()}\n")


def slowdowns(cells: pd.DataFrame, results: Path) -> pd.Series:
    full = cells[cells["controller"] == "static-full"].groupby("dataset")[PER_DATASET].median()
    profile_ms = {
        dataset: read_json(results / "core_exp" / f"{dataset}.reference.json", REFERENCE)["median_latency_ms"]
        for dataset in full.index
    }
    of_full = full["latency_p50_ms"] / pd.Series(profile_ms) / full["reference_request_ms"]
    return cells["reference_request_ms"] * cells["dataset"].map(of_full)


def late_shares(cell, results: Path) -> tuple[float, float]:
    path = results / "eval" / cell.dataset / cell.controller / f"{cell.budget}.parquet"
    latency_ms = read_table(path, EVALUATION, ["latency_ms"])[0]["latency_ms"]
    return (latency_ms > cell.budget_ms).mean(), (latency_ms / cell.slowdown > cell.budget_ms).mean()


if __name__ == "__main__":
    run(main)
