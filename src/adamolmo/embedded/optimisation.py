"""One step of the training: which optimiser moves what, at which rate, with gradients averaged over the workers."""

from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor, nn

from adamolmo.embedded.muon import Muon
from adamolmo.embedded.recipe import LearningRate, Recipe


def make_optimisers(module: nn.Module, rate: LearningRate) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices; AdamW for embeddings, head, norms and biases, and slowly for the routers."""
    muon, adam, router = [], [], []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.endswith("mlp.gate.weight"):
            router.append(parameter)
        elif parameter.ndim >= 2 and not any(part in name for part in ("embed", "lm_head")):
            muon.append(parameter)
        else:
            adam.append(parameter)
    groups = [{"params": adam, "lr": rate.adam}, {"params": router, "lr": rate.adam / 10}]
    adamw = torch.optim.AdamW([g for g in groups if g["params"]], betas=(0.9, 0.98), weight_decay=0.0)
    optimisers = [Muon(muon, rate.muon), adamw]
    return optimisers


def take_step(loss, optimisers, step: int, steps: int, recipe: Recipe, workers: int = 1, warmup: int | None = None):
    """One optimiser step: warm-up, constant, linear decay over the last `decay_share` of the steps."""
    loss.backward()
    if workers > 1:
        _average_gradients(optimisers, workers)
    rise = min(1.0, ((step if warmup is None else warmup) + 1) / recipe.warmup_steps)
    factor = rise * min(1.0, (steps - step) / (recipe.decay_share * steps))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group.setdefault("peak", group["lr"])
            group["lr"] = group["peak"] * factor
        optimiser.step()
        optimiser.zero_grad()


def _average_gradients(optimisers, workers: int) -> None:
    gradients = [p.grad for p in _parameters(optimisers) if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= workers
    for gradient, averaged in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(averaged.view_as(gradient))


def _parameters(optimisers) -> Iterator[Tensor]:
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            yield from group["params"]
