import argparse
import dataclasses

import engine as engine_benchmark
import olmoe_twin
import pytest

from adamolmo.errors import AdaMolmoError

pytest.importorskip("transformers", reason="transformers is not installed (extra 'test')")


@pytest.fixture
def args(monkeypatch):
    """The benchmark at toy widths."""
    config = engine_benchmark.model_config("medium")
    vision = dataclasses.replace(config.vision, width=16, num_layers=2, num_heads=2, head_dim=8, mlp_dim=16)
    sizes = {"d_model": 32, "num_heads": 2, "num_experts": 9, "expert_dim": 8, "embedding_size": 50}
    tiny = dataclasses.replace(config, vision=vision, vit_layers=(-1, -2), **sizes)
    rates = {"source": "none", "flops_per_s": 1e9, "bytes_per_s": 1e9}
    monkeypatch.setattr(engine_benchmark, "model_config", lambda size: tiny)
    monkeypatch.setattr(engine_benchmark, "device_rates", lambda *_: rates)
    return argparse.Namespace(device="cpu", size="tiny", tokens=20, decode_tokens=2, repeats=2, seed=0)


def test_every_case_is_measured_and_compared(args, capsys):
    result = engine_benchmark.benchmark(args)
    cases = {row["name"]: row for row in result["cases"]}
    assert all(row["median_ms"] > 0 for row in cases.values())
    own = [row for name, row in cases.items() if "transformers" not in name]
    assert len(own) == 3 + 5 + 5 + 2
    assert all(row["share_of_ceiling_pct"] == 100 * row["ceiling_ms"] / row["median_ms"] for row in own)
    dearer, cheaper = cases["decode k8-b16"], cases["decode k4-b12"]
    assert dearer["cost"]["bytes"] > 1.3 * cheaper["cost"]["bytes"]
    assert sum("transformers" in name for name in result["ratios"]) == 2 + 3
    printed = capsys.readouterr().out
    assert printed.index("ceiling at 0.001 TFLOP/s") < printed.index("median")


def test_another_model_is_not_compared_with(args, monkeypatch):
    build = olmoe_twin.olmoe_twin

    def other(model):
        twin = build(model)
        twin.model.layers[3].mlp.experts.down_proj.mul_(100)
        return twin

    monkeypatch.setattr(olmoe_twin, "olmoe_twin", other)
    with pytest.raises(AdaMolmoError, match="logits differ by"):
        engine_benchmark.benchmark(args)


def test_size_that_does_not_fit_is_refused():
    costs = engine_benchmark.CostModel(dataclasses.replace(engine_benchmark.model_config("molmoe"), num_layers=4000))
    with pytest.raises(AdaMolmoError, match="--size molmoe needs .* GiB for two copies"):
        engine_benchmark.check_memory(costs, "cpu", "molmoe")
