import pytest


def test_every_axis_of_the_grid_has_its_accuracies_and_its_latency(run_on_study):
    outcome = run_on_study("knob_effects", "--samples", "2", "--timed", "1")
    rows = {row["config"]: row for row in outcome.record["rows"]}
    assert list(rows) == ["high-k8-b16", "high-k8-b12", "high-k4-b16", "low-k8-b16", "low-k4-b12"]
    for config, row in rows.items():
        accuracy = row["accuracy"]
        assert row["by_dataset"].keys() == {"text_vqa", "okvqa"}
        assert accuracy["value"] == pytest.approx(sum(row["by_dataset"].values()) / 2)
        assert 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1
        cells = " | ".join(f"{value:.3f}" for value in row["by_dataset"].values())
        assert f"| {config} | {cells} | {accuracy['value']:.3f} (" in outcome.printed
    latency_ms = [row["latency_ms"] for row in rows.values()]  # modelled
    assert max(latency_ms) == latency_ms[0] and min(latency_ms) == latency_ms[-1] > 0
    assert "| latency, ms |" in outcome.printed
    assert outcome.record["questions_per_dataset"] == 2
    by_size = outcome.record["by_size"]
    assert {(row["tier"], row["crops"]) for row in by_size} <= {("low", 2), ("high", 5), ("high", 9), ("high", 17)}
    assert {name for row in by_size for name in row["by_dataset"]} == {"text_vqa", "okvqa"}
    for row in by_size:
        assert f"| {row['size']} | {row['tier']} | {row['crops']} | " in outcome.printed
