import json

import pytest

from adamolmo.files.evaluation import EVALUATION
from adamolmo.files.schema import read_table

SAMPLES = 3


def test_what_a_controller_adds_is_told_in_ms_and_in_percent_of_the_request(run_on_study, finished):
    """By the modelled clock, so that the figures can be compared with those of the study."""
    outcome = run_on_study("controller_time", "--samples", f"{SAMPLES}", "--repeats", "1")
    cell, _ = read_table(finished.path("results/eval/text_vqa/static-full/60pct.parquet"), EVALUATION)
    plain_ms = cell.sort_values("sample_id")["latency_ms"][:SAMPLES].median()
    assert outcome.record["plain_ms"] == pytest.approx(plain_ms)

    added_ms = {row["controller"]: row["added_ms"] for row in outcome.record["rows"]}
    assert added_ms.keys() == {"two-stage-budget", "single-stage-mlp", "predict-overview"}
    assert added_ms["two-stage-budget"].keys() == {"reused"}  # it looks at no image
    assert 0 < added_ms["two-stage-budget"]["reused"] < plain_ms
    looking = added_ms["single-stage-mlp"]
    card = json.loads(finished.path("results/controllers/single-stage-mlp/policy.json").read_text())
    assert looking["reused"] == pytest.approx(card["training"]["overhead_ms"]["high"], rel=0.2)
    assert looking["reused"] < looking["encoded_twice"] < plain_ms

    assert f"{outcome.record['config']}: {plain_ms:.2f} ms" in outcome.printed
    cells = [f"{ms:.2f} | {100 * ms / plain_ms:.1f}" for ms in looking.values()]
    assert f"| single-stage-mlp | {' | '.join(cells)} |" in outcome.printed
