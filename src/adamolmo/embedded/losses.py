"""What the phases minimise: labels of image tokens, tokens of answers, balance of the experts."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamolmo.embedded.batches import PackedBatch
from adamolmo.embedded.labels import COLOUR_LABELS, EMPTY, IGNORED
from adamolmo.embedded.recipe import TextPhase
from adamolmo.model.decoder import Positions
from adamolmo.model.molmoe import MolmoE


def cell_loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, list[float]]]:
    """Cross entropy of each token's part and colour; empty cells are most of an image and count little. With it, by
    kind, what was right: 1 or 0 for each token that shows something."""
    part, colour = labels.flatten(0, 2).T
    part_logits, colour_logits = logits.flatten(0, 2).split([EMPTY + 1, len(COLOUR_LABELS)], dim=1)
    shown = (part != EMPTY) & (part != IGNORED)
    weights = torch.ones(EMPTY + 1)
    weights[EMPTY] = 0.05
    # Means, but for a batch in which nothing counts.
    part_loss = F.cross_entropy(part_logits, part, weights, ignore_index=IGNORED, reduction="sum")
    colour_loss = F.cross_entropy(colour_logits[shown], colour[shown], reduction="sum")
    loss = part_loss / weights[part[part != IGNORED]].sum().clamp(min=1) + colour_loss / shown.sum().clamp(min=1)
    right = part_logits.argmax(1) == part
    is_digit = shown & (part >= EMPTY - 10)
    right_colour = colour_logits[shown].argmax(1) == colour[shown]
    kinds = {"shape": right[shown & ~is_digit], "digit": right[is_digit], "colour": right_colour}
    return loss, {name: values.float().tolist() for name, values in kinds.items()}


def answer_logits(model: MolmoE, batch: PackedBatch) -> tuple[Tensor, Tensor]:
    """Logits [answer tokens, embedding_size] and targets [answer tokens] of all answers of a batch, row by row."""
    features = None if batch.pixels is None else model.vision_backbone(batch.pixels, batch.masks)
    x = model.embed(batch.input_ids, features, batch.image_input_idx)
    cos, sin = model.rotary(batch.position_ids)
    positions = Positions(cos, sin, batch.mask, slots=None, num_keys=x.shape[1])
    hidden = model.forward_blocks(x, range(model.config.num_layers), model.config.top_k, positions)
    asked = batch.targets >= 0
    return model.lm_head(model.transformer["ln_f"](hidden[asked])), batch.targets[asked]


def answer_loss(model: MolmoE, batch: PackedBatch) -> tuple[Tensor, Tensor]:
    """Cross entropy of the answers' tokens, and per row the share of those tokens that are predicted right."""
    logits, targets = answer_logits(model, batch)
    row = (batch.targets >= 0).nonzero()[:, 0]
    right = (logits.argmax(-1) == targets).float()
    num_rows = len(batch.targets)
    accuracy = torch.zeros(num_rows).index_add(0, row, right) / row.bincount(minlength=num_rows)
    return F.cross_entropy(logits, targets), accuracy


class RouterLogits:
    """Collects every block's router logits of a forward pass, for the balancing losses of OLMoE (arXiv 2409.02060)."""

    def __init__(self, model: MolmoE):
        self.model, self.logits = model, []

    def __enter__(self) -> "RouterLogits":
        def keep(_module, _inputs, logits: Tensor) -> None:
            self.logits.append(logits)

        self.hooks = [router.register_forward_hook(keep) for router in routers(self.model)]
        return self

    def __exit__(self, *_) -> None:
        for hook in self.hooks:
            hook.remove()

    def loss(self, recipe: TextPhase) -> Tensor:
        """Load-balancing and z-loss of the collected logits, which are forgotten."""
        config, total = self.model.config, 0.0
        for logits in self.logits:
            probabilities = logits.softmax(dim=-1)
            chosen = probabilities.topk(config.top_k, dim=-1).indices
            load = chosen.flatten().bincount(minlength=config.num_experts) / chosen.numel()
            balance = config.num_experts * (load * probabilities.mean(dim=0)).sum()
            z = logits.logsumexp(dim=-1).square().mean()
            total = total + recipe.load_balance * balance + recipe.router_z * z
        count = len(self.logits)
        self.logits.clear()
        return total / count


def routers(model: MolmoE) -> list[nn.Linear]:
    return [block.mlp.gate for block in model.transformer["blocks"]]
