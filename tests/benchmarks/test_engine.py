import subprocess
from argparse import Namespace
from dataclasses import replace
from importlib.util import find_spec
from shutil import which

import engine as engine_benchmark
import machine_rates
import olmoe_twin
import pytest
import torch

from adamolmo.errors import AdaMolmoError

pytest.importorskip("transformers", reason="transformers is not installed (extra 'test')")

ARGUMENTS = Namespace(device="cpu", size="small", tokens=20, decode_tokens=2, repeats=2, seed=0)
PEERS = {
    "prefill": ["transformers eager", "transformers grouped_mm"],
    "decode": ["transformers eager", "transformers grouped_mm", "transformers batched_mm"],
}


PROMPT = torch.randint(0, 3000, (1, 9), generator=torch.Generator().manual_seed(3))


@pytest.fixture
def twin():
    """Of two blocks, because compiling takes its time for each."""
    config = replace(engine_benchmark.model_config("small"), num_layers=2)
    with torch.inference_mode():
        yield olmoe_twin.olmoe_twin(engine_benchmark.random_model(config, "cpu", torch.float32, 0))


def test_every_case_is_measured_and_compared(gpu_session_miniature):
    outcome = gpu_session_miniature.outcome("engine")
    result, printed = outcome.record, outcome.printed
    cases = {row["name"]: row for row in result["cases"]}
    assert all(row["median_ms"] > 0 for row in cases.values())
    own = [row for row in cases.values() if "ceiling_ms" in row]
    assert len(own) == 3 + 5 + 5 + 2
    assert all(row["share_of_ceiling_pct"] == 100 * row["ceiling_ms"] / row["median_ms"] for row in own)
    dearer, cheaper = cases["decode k8-b16"], cases["decode k4-b12"]
    assert dearer["cost"]["bytes"] > 1.3 * cheaper["cost"]["bytes"]
    assert all(ratio["low"] <= ratio["value"] <= ratio["high"] for ratio in result["ratios"].values())
    missing = result["missing_peers"]
    for stage, peers in PEERS.items():
        compiled = ["transformers compiled"] if stage == "decode" and "transformers compiled" not in missing else []
        others = [*compiled, *(["llama.cpp"] if "llama.cpp" not in missing else [])]
        names = [f"{stage} {peer}" for peer in [*peers, *others]]
        assert {name for name in result["ratios"] if name.endswith(f"/ {stage} k8-b16")} == {
            f"{name} / {stage} k8-b16" for name in names
        }
        assert result["strongest_peers"][stage] == min(names, key=lambda name: cases[name]["median_ms"])
        assert all(printed.index(f"logits of {name}") < printed.index("of ceiling") for name in names)
    rates = result["rates"]
    ceiling = f"ceiling at {rates['flops_per_s'] / 1e12:.3g} TFLOP/s and {rates['bytes_per_s'] / 1e9:.0f} GB/s"
    assert printed.index(ceiling) < printed.index("of ceiling")


@pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed (benchmarks/README.md)")
def test_llama_cpp_decodes_what_transformers_decodes(twin):
    from llama_cpp_peer import llama_cpp_peer

    llama = llama_cpp_peer(twin, PROMPT, 5)
    (decode,) = (case for case in llama.cases if case.name == "decode llama.cpp")
    assert decode.run() == decode.run() == decoded_eagerly(twin)[0][0]


@pytest.mark.skipif(which("c++") is None, reason="no C++ compiler is installed")
def test_compiled_transformers_decode_what_eager_ones_decode(twin):
    from transformers_peer import compiled_peer

    (decode,) = compiled_peer(twin, PROMPT, 5).cases
    expected = decoded_eagerly(twin)  # changes a setting that the compiled step depends on
    with torch.compiler.set_stance("fail_on_recompile"):  # which would be timed
        assert decode.run() == decode.run() == expected


def decoded_eagerly(twin) -> list:
    from transformers_peer import eager_peer

    (eager,) = (case for case in eager_peer(twin, PROMPT, 5).cases if case.name == "decode transformers eager")
    return eager.run()


def test_the_ceiling_is_measured_without_pytorch_where_a_compiler_is():
    try:
        subprocess.run(["cc", "--version"], capture_output=True, check=True)
    except OSError:
        pytest.skip("no C compiler is installed")
    rates = machine_rates.device_rates("any processor", "cpu", torch.float32, megabytes=16)
    assert rates["source"] == "measured by machine_rates.c"
    assert rates["flops_per_s"] > 1e8 and rates["bytes_per_s"] > 1e7
    assert rates["torch"].keys() == {"flops_per_s", "bytes_per_s"}


def test_without_a_compiler_the_ceiling_is_numpys_and_says_so(monkeypatch):
    monkeypatch.setattr(machine_rates.shutil, "which", lambda name: None)
    rates = machine_rates.device_rates("any processor", "cpu", torch.float32, megabytes=16)
    assert rates["source"] == "measured with NumPy, which is no upper limit: no C compiler was found"
    assert rates["flops_per_s"] > 1e8


def test_a_known_gpus_ceiling_is_its_data_sheets(monkeypatch):
    monkeypatch.setattr(machine_rates, "_torch_rates", lambda *_: {"flops_per_s": 1e14, "bytes_per_s": 1e12})
    known, unknown = (
        machine_rates.device_rates(name, "cuda", torch.bfloat16, 16) for name in ("NVIDIA H200", "NVIDIA T4")
    )
    assert (known["flops_per_s"], known["bytes_per_s"]) == (989e12, 4.8e12)
    assert (unknown["flops_per_s"], unknown["bytes_per_s"]) == (1e14, 1e12)
    assert "no data sheet of the NVIDIA T4" in unknown["source"]


def test_another_model_is_not_compared_with(monkeypatch):
    def other(model):
        twin = olmoe_twin.olmoe_twin(model)
        twin.model.layers[3].mlp.experts.down_proj.mul_(100)
        return twin

    rates = {"source": "none", "flops_per_s": 1e9, "bytes_per_s": 1e9, "torch": {"flops_per_s": 1, "bytes_per_s": 1}}
    monkeypatch.setattr(engine_benchmark, "device_rates", lambda *_, **__: rates)
    monkeypatch.setattr(engine_benchmark, "olmoe_twin", other)
    with pytest.raises(AdaMolmoError, match="prefill transformers eager: logits differ by"):
        engine_benchmark.benchmark(ARGUMENTS)


def test_size_that_does_not_fit_is_refused():
    costs = engine_benchmark.CostModel(replace(engine_benchmark.model_config("molmoe"), num_layers=4000))
    with pytest.raises(AdaMolmoError, match="--size molmoe needs .* GiB for 3 copies"):
        engine_benchmark.check_memory(costs, "cpu", "molmoe")
