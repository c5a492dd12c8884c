from argparse import Namespace
from dataclasses import replace

import engine as engine_benchmark
import olmoe_twin
import pytest

from adamolmo.errors import AdaMolmoError

pytest.importorskip("transformers", reason="transformers is not installed (extra 'test')")


def test_every_case_is_measured_and_compared(run_benchmark):
    sizes = ("--size", "small", "--tokens", "20", "--decode-tokens", "2")
    outcome = run_benchmark("engine", *sizes, "--repeats", "2")
    result, printed = outcome.record, outcome.printed
    cases = {row["name"]: row for row in result["cases"]}
    assert all(row["median_ms"] > 0 for row in cases.values())
    own = [row for name, row in cases.items() if "transformers" not in name]
    assert len(own) == 3 + 5 + 5 + 2
    assert all(row["share_of_ceiling_pct"] == 100 * row["ceiling_ms"] / row["median_ms"] for row in own)
    dearer, cheaper = cases["decode k8-b16"], cases["decode k4-b12"]
    assert dearer["cost"]["bytes"] > 1.3 * cheaper["cost"]["bytes"]
    assert sum("transformers" in name for name in result["ratios"]) == 2 + 3
    assert all(ratio["low"] <= ratio["value"] <= ratio["high"] for ratio in result["ratios"].values())
    rates = result["rates"]
    ceiling = f"ceiling at {rates['flops_per_s'] / 1e12:.3g} TFLOP/s and {rates['bytes_per_s'] / 1e9:.0f} GB/s"
    assert printed.index(ceiling) < printed.index("ms per")


def test_another_model_is_not_compared_with(monkeypatch):
    def other(model):
        twin = olmoe_twin.olmoe_twin(model)
        twin.model.layers[3].mlp.experts.down_proj.mul_(100)
        return twin

    rates = {"source": "none", "flops_per_s": 1e9, "bytes_per_s": 1e9}
    monkeypatch.setattr(engine_benchmark, "device_rates", lambda *_: rates)
    monkeypatch.setattr(engine_benchmark, "olmoe_twin", other)
    args = Namespace(device="cpu", size="small", tokens=20, decode_tokens=2, repeats=2, seed=0)
    with pytest.raises(AdaMolmoError, match="logits differ by"):
        engine_benchmark.benchmark(args)


def test_size_that_does_not_fit_is_refused():
    costs = engine_benchmark.CostModel(replace(engine_benchmark.model_config("molmoe"), num_layers=4000))
    with pytest.raises(AdaMolmoError, match="--size molmoe needs .* GiB for two copies"):
        engine_benchmark.check_memory(costs, "cpu", "molmoe")
