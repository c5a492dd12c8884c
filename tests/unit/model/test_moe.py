import pytest
import torch
import torch.nn.functional as F

from adamolmo.model.moe import Experts


@pytest.fixture(scope="module")
def experts():
    torch.manual_seed(0)
    experts = Experts(num_experts=6, d_model=20, expert_dim=12).requires_grad_(False)
    experts.gate_up.normal_(std=0.3)
    experts.down.normal_(std=0.3)
    return experts


def route(tokens, top_k):
    weights, chosen = torch.rand(tokens, 6).softmax(dim=-1).topk(top_k, dim=-1)
    return torch.randn(tokens, 20), weights, chosen


def all_experts(experts, x, weights, chosen):
    """Every expert on every token; the chosen ones are picked afterwards."""
    gate, up = torch.einsum("td,edf->tef", x, experts.gate_up).chunk(2, dim=-1)
    outputs = torch.einsum("tef,efd->ted", F.silu(gate) * up, experts.down)
    return (weights[..., None] * outputs.gather(1, chosen[..., None].expand(-1, -1, x.shape[1]))).sum(dim=1)


@pytest.mark.parametrize("top_k", [1, 4, 6])
@pytest.mark.parametrize("tokens", [1, 2, 50])
def test_sum_of_the_chosen_experts(experts, tokens, top_k):
    x, weights, chosen = route(tokens, top_k)
    torch.testing.assert_close(experts(x, weights, chosen), all_experts(experts, x, weights, chosen))


def test_experts_that_no_token_chose_are_not_read(experts):
    x, weights, _ = route(7, 2)
    chosen = torch.tensor([[4, 1]]).expand(7, -1)
    expected = experts(x, weights, chosen)
    poisoned = Experts(6, 20, 12).requires_grad_(False)
    poisoned.gate_up.fill_(torch.nan)
    poisoned.down.fill_(torch.nan)
    for expert in (1, 4):
        poisoned.gate_up[expert], poisoned.down[expert] = experts.gate_up[expert], experts.down[expert]
    assert torch.equal(poisoned(x, weights, chosen), expected)
    torch.testing.assert_close(poisoned(x[:1], weights[:1], chosen[:1]), expected[:1])


@pytest.mark.parametrize("tokens", [1, 5])
def test_gradients_are_those_of_all_experts(experts, tokens):
    x, weights, chosen = route(tokens, 2)
    trained = Experts(6, 20, 12)
    trained.load_state_dict(experts.state_dict())
    inputs = [*(t.requires_grad_() for t in (x, weights)), trained.gate_up, trained.down]
    found, expected = (
        torch.autograd.grad(f(x, weights, chosen).square().sum(), inputs)
        for f in (trained, lambda *args: all_experts(trained, *args))
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert found[2].flatten(1).any(dim=1).nonzero().flatten().tolist() == sorted(set(chosen.flatten().tolist()))
