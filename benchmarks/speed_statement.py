"""What may be said of the engine's speed, as a sentence for the documentation, from a record of `engine.py`.

    python benchmarks/engine.py --output engine.json
    python benchmarks/speed_statement.py engine.json

It names the strongest peer of each stage, whichever way the comparison went.
"""

import json
import sys
from pathlib import Path

from adamolmo.jobs.script import run

_STAGES = {"prefill": "the prefill", "decode": "a decoded token"}


def statement(record: dict) -> str:
    """Of the record's device; times of the strongest peers as multiples of the engine's, with 95 % intervals."""
    medians_ms = {case["name"]: case["median_ms"] for case in record["cases"]}
    clauses = []
    for stage, name in record["strongest_peers"].items():
        own, ratio = f"{stage} k8-b16", record["ratios"][f"{name} / {stage} k8-b16"]
        clauses.append(
            f"{_STAGES[stage]} takes {medians_ms[own]:.1f} ms and with {name.removeprefix(f'{stage} ')}, the strongest "
            f"peer, {ratio['value']:.2f} times as long (95 % interval {ratio['low']:.2f} to {ratio['high']:.2f})"
        )
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    missing = "".join(f"; without {name}: {reason}" for name, reason in record["missing_peers"].items())
    return (
        f"On {record['device']['name']} ({record['dtype'].removeprefix('torch.')}, size {record['size']}, "
        f"{record['tokens']} tokens, {record['repeats']} repeats) {'; '.join(clauses)} ({versions}{missing})."
    )


if __name__ == "__main__":
    run(lambda: print(statement(json.loads(Path(sys.argv[1]).read_text()))))
