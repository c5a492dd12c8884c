"""One step of the training: which optimiser moves what, and at which rate."""

import torch
from torch import nn
from torch.optim import Optimizer

from adamolmo.embedded.muon import Muon
from adamolmo.embedded.recipe import LearningRate


def make_optimisers(module: nn.Module, rate: LearningRate) -> list[Optimizer]:
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
    groups = [{"params": adam, "peak": rate.adam}, {"params": router, "peak": rate.adam / 10}]
    return [Muon(muon, rate.muon), adamw([group for group in groups if group["params"]])]


def adamw(groups: list[dict]) -> Optimizer:
    """Of groups with their `peak`, the highest learning rate."""
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)


def take_step(optimisers: list[Optimizer], rate: float, shards: int) -> None:
    """Moves the parameters along the mean of the gradients that were summed over so many shards.

    Args:
        rate: share of the highest learning rates.
    """
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * rate
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad /= shards
        optimiser.step()
        optimiser.zero_grad()
