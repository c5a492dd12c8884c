"""The GPU's kernels for one token, interpreted on the CPU, against float64. tests/gpu runs them compiled.

Every tolerance is a bound on rounding errors (`decode_reference`), not what was once seen to pass.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from decode_reference import check_attention, check_experts

import adamolmo
from adamolmo.knobs import DecoderKnobs
from adamolmo.model import moe, molmoe

if torch.cuda.is_available():
    pytest.skip("kernels interpreted here could not be compiled in tests/gpu", allow_module_level=True)
if (sys.platform, platform.machine()) != ("linux", "x86_64"):
    pytest.skip("Triton comes with the test environment on Linux on x86-64 only", allow_module_level=True)

from adamolmo.model import decode_kernels  # noqa: E402

# The interpreter cuts bits off where a GPU rounds to the nearest bfloat16: twice the unit roundoff.
ROUNDOFF = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-7}


@pytest.mark.parametrize("dtype", ROUNDOFF)
@pytest.mark.parametrize(
    ("d_model", "expert_dim", "top_k"),
    [
        pytest.param(128, 32, 1, id="whole blocks of 128 rows and 32 columns, one expert"),
        pytest.param(80, 48, 3, id="one broken block of rows, a broken one of columns"),
        pytest.param(136, 33, 8, id="whole and broken blocks, an odd width, all experts"),
    ],
)
def test_experts_are_within_rounding_of_float64(dtype, d_model, expert_dim, top_k):
    check_experts(dtype, ROUNDOFF[dtype], d_model, expert_dim, 8, top_k)


@pytest.mark.parametrize("dtype", ROUNDOFF)
@pytest.mark.parametrize("position", [0, 1, 5, 62, 63, 64, 127, 128, 199])  # a chunk is 64 keys
def test_attention_is_within_rounding_of_float64(dtype, position):
    check_attention(dtype, ROUNDOFF[dtype], position, num_heads=6, head_dim=16, num_slots=200)  # 3 chunks and 8 keys


@pytest.mark.parametrize("dtype", ROUNDOFF)
@pytest.mark.parametrize(
    ("num_heads", "head_dim", "num_slots"),
    [
        pytest.param(1, 2, 1, id="one head of two dimensions, one slot"),
        pytest.param(3, 32, 65, id="an odd number of heads, one slot in the second chunk"),
        pytest.param(2, 128, 64, id="heads as wide as MolmoE-1B's, one whole chunk"),
    ],
)
def test_attention_of_other_shapes_is_within_rounding_of_float64(dtype, num_heads, head_dim, num_slots):
    check_attention(dtype, ROUNDOFF[dtype], num_slots - 1, num_heads, head_dim, num_slots)


@torch.inference_mode()
def test_a_token_that_the_kernels_decode_has_the_logits_that_pytorch_finds(tiny_model, monkeypatch):
    prompt = torch.randint(0, 24, (1, 70), generator=torch.Generator().manual_seed(0))
    knobs = DecoderKnobs(2, (0, 1, 2, 3, 6))

    def logits() -> torch.Tensor:
        cache = tiny_model.new_cache(1, 72)
        prefix = tiny_model.run_prefix(tiny_model.embed(prompt), cache=cache)
        first = tiny_model.next_token_logits(prefix, knobs, cache).argmax(dim=-1)
        return tiny_model.decode(first, prefix.lengths, knobs, cache, 71)

    expected, calls = logits(), []
    for module in (molmoe, moe):
        monkeypatch.setattr(module, "is_one_token_on_gpu", lambda x: x.numel() == x.shape[-1])
    for name in ("attend", "expert_mixture"):
        kernel = getattr(decode_kernels, name)
        monkeypatch.setattr(decode_kernels, name, lambda *args, k=kernel, n=name: calls.append(n) or k(*args))
    torch.testing.assert_close(logits(), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert calls.count("attend") == len(knobs.blocks)
    # The last block of the prompt's pass also computes its experts for one token only.
    assert calls.count("expert_mixture") == len(knobs.blocks) + 1


def test_a_request_on_a_cpu_does_not_import_triton(study):
    """It would take as long as the request."""
    arguments = ["answer", "picture.png", "what colour ?", "--budget", "55pct", "--controller", "lookup-mean"]
    program = f"import sys; from adamolmo.cli import main; main({arguments}); sys.exit('triton' in sys.modules)"
    sources = str(Path(adamolmo.__file__).parents[1])
    subprocess.run([sys.executable, "-c", program], cwd=study, env=os.environ | {"PYTHONPATH": sources}, check=True)
