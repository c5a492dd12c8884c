def test_start_and_memory_of_processes_that_load_the_model_together(run_on_study, finished):
    outcome = run_on_study("model_loading", "--processes", "2", "--repeats", "1")
    (row,) = outcome.record["rows"]
    assert row["processes"] == 2
    assert all(row[name] > 0 for name in ("import_s", "load_s", "first_answer_s"))
    assert 0 < row["own_mb"] < row["resident_mb"]
    weights_mb = finished.path("results/model/model.safetensors").stat().st_size / 1e6
    assert outcome.record["weights_mb"] == weights_mb
    assert "| processes | import_s | load_s | first_answer_s | own_mb | resident_mb |" in outcome.printed
    assert f"weights: {weights_mb:.0f} MB" in outcome.printed
