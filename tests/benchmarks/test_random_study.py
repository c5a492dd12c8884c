def test_a_model_of_random_weights_goes_through_core_exp_and_one_cell(gpu_session_miniature):
    outcome = gpu_session_miniature.outcome("study")
    record = outcome.record
    assert record["answers"] == len(record["median_ms"]) == 8
    assert min(record["median_ms"].values()) > 0
    assert record["seconds"].keys() == {"model", "accuracy pass", "latency pass", "cell"}
    assert record["cell"]["requests"] == 1
    for config, ms in record["median_ms"].items():
        assert f"{config}: {ms:.2f} ms (median)" in outcome.printed
