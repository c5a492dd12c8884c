"""What a request is expected to take, from stage times of the model's form."""

import json

import numpy as np
import pytest
from pandas import DataFrame
from profile_parts import merge, parts, true_stages

from adamolmo.core_exp import expected_latency
from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import sealed, write_json
from adamolmo.files.lookup import ExpectedLatencyFile
from adamolmo.knobs import KnobGrid

GRID = KnobGrid(("low", "high"), (4, 6), (6, 8))
CONFIGS = GRID.configs
METADATA = {"clock": "measured", "device": {"kind": "cpu"}}
PREFIX, MAX_NEW_TOKENS = 3, 4
MEAN_STEPS = 2  # of the made-up profile's samples 1, 2 and 3 decode steps are equally frequent


@pytest.fixture(scope="module")
def profile() -> DataFrame:
    table, _ = merge(*parts(CONFIGS), CONFIGS)
    return table.assign(output_tokens=table["output_tokens"])


@pytest.fixture(scope="module")
def fitted(profile) -> ExpectedLatencyFile:
    return expected_latency.fit(profile, METADATA, GRID, PREFIX, MAX_NEW_TOKENS)


def save(fitted, path):
    write_json(fitted, path)
    return path


def test_a_request_of_any_size_is_expected_as_the_stage_model_says(fitted, tmp_path):
    reordered = fitted.model_copy(update={"entries": fitted.entries[::-1]})
    latency = expected_latency.load(save(reordered, tmp_path / "okvqa.json"), GRID)
    crops, tokens = np.array([[2, 5], [2, 9]]), np.array([[30, 70], [41, 95]])
    expected = latency(crops, tokens)
    assert expected.shape == (2, len(CONFIGS))
    np.testing.assert_allclose(latency(tuple(crops[1]), tuple(tokens[1])), expected[1])
    for request in range(2):
        for place, config in enumerate(CONFIGS):
            tier = ("low", "high").index(config.tier)
            work = {"num_crops": crops[request, tier], "input_tokens": tokens[request, tier]}
            row = DataFrame([vars(config) | work | {"decode_steps": MEAN_STEPS}]).iloc[0]
            assert expected[request, place] == pytest.approx(sum(true_stages(row)), rel=1e-3)


def test_its_error_is_that_of_unknown_answer_lengths(profile, fitted):
    """Latencies are exact but for decode steps, which are 1, 2 or 3 instead of 2."""
    assert 1 < fitted.error_pct < 20
    same_length = profile[profile["output_tokens"] == MEAN_STEPS]
    assert expected_latency.fit(same_length, METADATA, GRID, PREFIX, MAX_NEW_TOKENS).error_pct < 0.1


def test_single_requests_scatter_around_medians_and_estimates(profile):
    """A single request around the median of its runs by what their range tells, around an estimate by its error too."""

    def scatter_pct(iqr, source):
        changed = profile.assign(latency_iqr_ms=iqr * profile["latency_ms"], latency_source=source)
        return expected_latency.fit(changed, METADATA, GRID, PREFIX, MAX_NEW_TOKENS).scatter_pct

    half = np.where(profile["sample_id"] == profile["sample_id"].iloc[0], "measured", "estimated")
    every, some = scatter_pct(0.0, "measured"), scatter_pct(0.0, half)
    assert every == 0.0 < some
    single, centre = np.random.default_rng(0).normal(1, 0.1, (2, 100_000, 3))
    iqr = np.subtract(*np.quantile(centre, (0.75, 0.25), axis=1)).mean()
    around = (single[:, 0] - np.median(centre, axis=1)).std()
    around_own = np.sqrt(around**2 - 2 * np.median(centre, axis=1).var())  # its variance above that of the median
    assert scatter_pct(iqr, "measured") == pytest.approx(100 * around_own, rel=0.03)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clock": 3}, "key 'clock' is 3; expected"),
        ({"entries": [{"config": "low-k4-b6", "fixed_ms": 1.0}]}, "key 'entries[0].ms_per_crop' is missing"),
    ],
)
def test_unusable_files_are_named(change, message, fitted, tmp_path):
    path = save(fitted, tmp_path / "okvqa.json")
    path.write_text(json.dumps(sealed(json.loads(path.read_text()) | change)))
    with pytest.raises(AdaMolmoError) as error:
        expected_latency.load(path, GRID)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_latencies_of_another_grid_are_refused(fitted, tmp_path):
    path = save(fitted.model_copy(update={"entries": fitted.entries[1:]}), tmp_path / "okvqa.json")
    with pytest.raises(AdaMolmoError, match="okvqa.json: the latencies were expected for another grid"):
        expected_latency.load(path, GRID)
