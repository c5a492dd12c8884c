"""What a request is expected to take, from stage times of the model's form."""

import json

import numpy as np
import pytest
from pandas import DataFrame
from profile_parts import merge, parts, true_stages

from adamolmo.core_exp import expected_latency
from adamolmo.errors import AdaMolmoError
from adamolmo.knobs import KnobConfig

CONFIGS = [KnobConfig(tier, k, b) for tier in ("low", "high") for k in (4, 6) for b in (6, 8)]
PREFIX, MAX_NEW_TOKENS = 3, 4
MEAN_STEPS = 2  # of the made-up profile's samples 1, 2 and 3 decode steps are equally frequent


@pytest.fixture(scope="module")
def profile() -> DataFrame:
    table, _ = merge(*parts(CONFIGS), CONFIGS)
    return table.assign(output_tokens=table["output_tokens"])


@pytest.fixture(scope="module")
def fitted(profile) -> dict:
    return expected_latency.fit(profile, CONFIGS, PREFIX, MAX_NEW_TOKENS)


def save(fitted, path):
    expected_latency.save({"okvqa": fitted}, CONFIGS, "measured", {"kind": "cpu"}, path)
    return path


def test_a_request_of_any_size_is_expected_as_the_stage_model_says(fitted, tmp_path):
    path, reordered = save(fitted, tmp_path / "expected_latency.json"), CONFIGS[::-1]
    latency = expected_latency.load(path, "okvqa", reordered, ("low", "high"))
    crops, tokens = np.array([[2, 5], [2, 9]]), np.array([[30, 70], [41, 95]])
    expected = latency(crops, tokens)
    assert expected.shape == (2, len(CONFIGS))
    np.testing.assert_allclose(latency(tuple(crops[1]), tuple(tokens[1])), expected[1])
    for request in range(2):
        for place, config in enumerate(reordered):
            tier = ("low", "high").index(config.tier)
            work = {"num_crops": crops[request, tier], "input_tokens": tokens[request, tier]}
            row = DataFrame([vars(config) | work | {"decode_steps": MEAN_STEPS}]).iloc[0]
            assert expected[request, place] == pytest.approx(sum(true_stages(row)), rel=1e-3)


def test_its_error_is_that_of_unknown_answer_lengths(profile, fitted):
    """Latencies are exact but for decode steps, which are 1, 2 or 3 instead of 2."""
    assert 1 < fitted["error_pct"] < 20
    same_length = profile[profile["output_tokens"] == MEAN_STEPS]
    assert expected_latency.fit(same_length, CONFIGS, PREFIX, MAX_NEW_TOKENS)["error_pct"] < 0.1


@pytest.mark.parametrize(
    ("dataset", "change", "message"),
    [
        ("text_vqa", {}, "has no latency of 'text_vqa'; it has okvqa"),
        ("okvqa", {"configurations": ["low-k4-b6"]}, "was made for another grid; expected 8 configurations"),
        ("okvqa", {"datasets": {"okvqa": {"fixed_ms": [1.0] * 8}}}, "'okvqa' lacks coefficients"),
        ("okvqa", {"clock": 3}, "key 'clock' is 3; expected string"),
    ],
)
def test_unusable_files_are_named(dataset, change, message, fitted, tmp_path):
    path = save(fitted, tmp_path / "expected_latency.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(AdaMolmoError) as error:
        expected_latency.load(path, dataset, CONFIGS, ("low", "high"))
    assert message in str(error.value)
    assert str(path) in str(error.value)
