import numpy as np
import pytest
from pandas import DataFrame

from adamolmo.core_exp.latency_model import StageModel, estimate_errors, held_out_estimates
from adamolmo.files.columns import STAGES

PREFIX = 3
PER_TOP_K = {4: 0.30, 5: 0.41, 6: 0.43}  # of no particular form
TIERS = {"low": 1.0, "high": 2.5}


def true_stages(tier, top_k, blocks, crops, prompt, steps):
    adaptive, per_k = blocks - PREFIX, PER_TOP_K[top_k]
    vision = TIERS[tier] * (3 + 0.5 * crops)
    prefill = TIERS[tier] * (4 + 0.1 * prompt + adaptive * (per_k + 0.01 * per_k * prompt))
    return np.array([vision, prefill, 0.5 + steps * (1 + adaptive * (per_k + 0.001 * prompt))])


def timed_table(noise: float = 0.0, samples: int = 12) -> DataFrame:
    """18 configurations on each sample."""
    rng = np.random.default_rng(0)
    rows = []
    for sample in range(samples):
        crops, prompt, steps = 2 + sample % 4, 30 + 5 * sample, sample % 5
        for tier in TIERS:
            for top_k in PER_TOP_K:
                for blocks in (6, 7, 8):
                    knobs = {"tier": tier, "top_k": top_k, "num_active_blocks": blocks}
                    stages = true_stages(tier, top_k, blocks, crops, prompt, steps)
                    stages = stages * (1 + noise * rng.standard_normal(3))
                    work = {"num_crops": crops, "input_tokens": prompt, "decode_steps": steps}
                    rows.append({"sample_id": f"s{sample}"} | knobs | work | dict(zip(STAGES, stages, strict=True)))
    return DataFrame(rows)


def unseen(tier, top_k, blocks, crops, prompt, steps) -> DataFrame:
    knobs = {"tier": tier, "top_k": top_k, "num_active_blocks": blocks}
    return DataFrame([knobs | {"num_crops": crops, "input_tokens": prompt, "decode_steps": steps}], index=[42])


@pytest.mark.parametrize("case", [("low", 4, 6, 9, 200, 6), ("high", 5, 8, 2, 31, 0), ("high", 6, 7, 4, 80, 3)])
def test_times_of_the_models_form_are_recovered(case):
    estimate = StageModel(timed_table(), PREFIX).predict(unseen(*case)).loc[42]
    assert estimate.to_numpy() == pytest.approx(true_stages(*case), rel=1e-4)


def test_noise_of_single_rows_is_averaged_over_all_configurations():
    """Six timed samples, 10 % noise: the pooled fit is far closer than the runs themselves."""
    model = StageModel(timed_table(noise=0.1, samples=6), PREFIX)
    cases = [(tier, k, b, 4, 45, 3) for tier in TIERS for k in PER_TOP_K for b in (6, 7, 8)]
    estimates = np.array([model.predict(unseen(*case)).sum(axis=1).item() for case in cases])
    truth = np.array([true_stages(*case).sum() for case in cases])
    assert np.abs(estimates / truth - 1).mean() < 0.05


def test_held_out_error_is_that_of_the_noise():
    def errors(**kind):
        return estimate_errors(held_out_estimates(timed_table(**kind), PREFIX))

    assert errors()["all"]["mean_absolute_pct"] == pytest.approx(0.0, abs=0.01)
    noisy = errors(noise=0.05)
    assert noisy.keys() == {"low", "high", "all"}
    assert 1.0 < noisy["all"]["mean_absolute_pct"] < 8.0
    assert abs(noisy["all"]["bias_pct"]) < 2.0
    assert errors(samples=1) == {}


def test_held_out_samples_are_not_seen_by_the_fit():
    """Both of two samples would be met exactly; from one of them the other, five times as long, cannot be foretold."""
    two = timed_table().query("sample_id in ['s0', 's11']").reset_index(drop=True)
    held_out = held_out_estimates(two, PREFIX)
    assert len(held_out) == len(two)
    assert estimate_errors(held_out)["all"]["mean_absolute_pct"] > 10


def test_more_work_never_takes_less_time():
    """Noise can tilt a line downwards; a constant is used then."""
    falling = timed_table()
    falling["vision_ms"] = 100 - falling["num_crops"]
    model = StageModel(falling, PREFIX)
    few, many = (model.predict(unseen("low", 4, 6, crops, 50, 1)).loc[42, "vision_ms"] for crops in (2, 17))
    assert few == pytest.approx(many)
    assert few == pytest.approx(falling["vision_ms"].mean(), rel=0.01)


def test_a_stage_that_never_ran_takes_no_time():
    none = timed_table().assign(decode_steps=0, decode_ms=0.0)
    assert StageModel(none, PREFIX).predict(unseen("low", 4, 6, 2, 50, 3)).loc[42, "decode_ms"] == 0
