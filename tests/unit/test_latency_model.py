import numpy as np
import pytest
from pandas import DataFrame

from adamolmo.latency_model import STAGES, StageModel, held_out_error_pct

TRUTH = {"low": (1.0, 0.5, 0.2), "high": (2.0, 0.8, 0.4)}


def timed_table(noise: float = 0.0) -> DataFrame:
    """12 samples in two configurations: stages are linear in their work, the coefficients those of TRUTH."""
    rng = np.random.default_rng(0)
    rows = []
    for sample in range(12):
        crops, prompt, steps = 2 + sample % 4, 30 + 5 * sample, sample % 5
        for tier, (per_crop, per_token, per_step) in TRUTH.items():
            stages = np.array([3 + per_crop * crops, 4 + per_token * prompt, per_step * steps])
            stages *= 1 + noise * rng.standard_normal(3)
            rows.append(
                {
                    "sample_id": f"s{sample}",
                    "tier": tier,
                    "top_k": 4,
                    "num_active_blocks": 7,
                    "num_crops": crops,
                    "input_tokens": prompt,
                    "decode_steps": steps,
                    **dict(zip(STAGES, stages, strict=True)),
                }
            )
    return DataFrame(rows)


def unseen(tier: str, crops: int, prompt: int, steps: int) -> DataFrame:
    knobs = {"tier": tier, "top_k": 4, "num_active_blocks": 7}
    return DataFrame([knobs | {"num_crops": crops, "input_tokens": prompt, "decode_steps": steps}], index=[42])


@pytest.mark.parametrize("tier", TRUTH)
def test_linear_times_are_recovered(tier):
    per_crop, per_token, per_step = TRUTH[tier]
    estimate = StageModel(timed_table()).predict(unseen(tier, 9, 200, 6)).loc[42]
    assert estimate.to_numpy() == pytest.approx([3 + 9 * per_crop, 4 + 200 * per_token, 6 * per_step])


def test_noisy_times_are_estimated_within_tolerance():
    estimate = StageModel(timed_table(noise=0.05)).predict(unseen("high", 4, 60, 3)).loc[42]
    assert estimate.to_numpy() == pytest.approx([3 + 4 * 2.0, 4 + 60 * 0.8, 3 * 0.4], rel=0.08)


def test_held_out_error_is_that_of_the_noise():
    assert held_out_error_pct(timed_table()) == pytest.approx(0.0, abs=1e-9)
    assert 1.0 < held_out_error_pct(timed_table(noise=0.05)) < 8.0
    assert held_out_error_pct(timed_table().query("sample_id == 's3'")) is None


def test_held_out_samples_are_not_seen_by_the_fit():
    """A line through both of two samples would be exact; from one of them the other cannot be foretold."""
    two = timed_table().query("sample_id in ['s0', 's11']")
    assert held_out_error_pct(two) > 20


def test_more_work_never_takes_less_time():
    """Noise can tilt a line downwards; a constant is used then, and equal work leaves the slope at zero."""
    falling = timed_table()
    falling["prefill_ms"] = 100 - falling["input_tokens"]
    falling["num_crops"], falling["vision_ms"] = 5, 7.0
    estimate = StageModel(falling).predict(unseen("low", 17, 500, 0)).loc[42]
    assert estimate["prefill_ms"] == pytest.approx(falling["prefill_ms"].mean())
    assert estimate["vision_ms"] == pytest.approx(7.0)


def test_no_work_never_takes_negative_time():
    steep = timed_table()
    steep["prefill_ms"] = 2.0 * steep["input_tokens"] - 50
    assert StageModel(steep).predict(unseen("low", 2, 0, 0)).loc[42, "prefill_ms"] == 0
    assert StageModel(steep).predict(unseen("low", 2, 60, 0)).loc[42, "prefill_ms"] > 60
