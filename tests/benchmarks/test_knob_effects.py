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
    sizes = [line.split(" | ")[:3] for line in outcome.printed.splitlines() if " x " in line]
    assert len(sizes) % 2 == 0 and len(sizes) >= 2  # two tiers of every size
    for (size, high, crops), (same, low, fewer) in zip(sizes[::2], sizes[1::2], strict=True):
        assert (size, high, low) == (same, "high", "low") and int(crops) > int(fewer) == 2
