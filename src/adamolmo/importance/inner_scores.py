"""Scores of the blocks from inside the model, on the prompt and its reference answer (teacher forced).

- activation_norm: how much the block changes its input, |block(x) - x| / |x|, mean over the tokens.
- gradient: first-order estimate of the loss that its removal adds, |sum of gradient x (block(x) - x)| with the loss of
  the reference answer (Molchanov et al., Importance Estimation for Neural Network Pruning, arXiv 1906.10771, applied to
  whole blocks).
- attention_entropy: 1 - entropy of the attention weights / log(visible keys), mean over heads and tokens: a block whose
  attention is focused counts as important.

None of them runs the model without the block, so they are cheap and know nothing of accuracy: they are compared with
the accuracy drop.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from adamolmo.backend.interface import Backend, Prompt
from adamolmo.data.samples import Questions, Sample
from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import Failed
from adamolmo.files.importance import InternalScores
from adamolmo.importance.blocks import describe, removable_blocks
from adamolmo.importance.rules import INTERNAL_RULES
from adamolmo.inference.engine import Engine
from adamolmo.inference.grid import batches_by_length, halving
from adamolmo.progress import progress


def score_blocks_internally(
    engine: Engine, questions: Questions, tier: str, batch_size: int, failed: Sequence[Mapping]
) -> InternalScores:
    """Scores of one dataset.

    Args:
        failed: unreadable samples, {sample_id, reason}.
    """
    blocks = removable_blocks(engine)
    by_rule = internal_scores(engine, questions, tier, batch_size)
    return InternalScores(
        num_samples=len(questions.samples),
        rules={rule: describe(scores, blocks, questions.samples) for rule, scores in by_rule.items()},
        failed=tuple(Failed(**entry) for entry in failed),
    )


def internal_scores(engine: Engine, questions: Questions, tier: str, batch_size: int) -> dict[str, np.ndarray]:
    """Per rule of INTERNAL_RULES the scores [samples, blocks] of the blocks behind the fixed prefix."""
    samples, style = questions.samples, questions.style
    scores = {rule: np.zeros((len(samples), len(removable_blocks(engine)))) for rule in INTERNAL_RULES}
    # The gradient needs the activations of every block at once.
    batches = batches_by_length(engine, questions, tier, max(1, batch_size // 8))
    for batch in progress(batches, "scores from inside the model, batches", len(batches)):
        parts = halving(lambda indices: _score(engine, [samples[i] for i in indices], style, tier), batch)
        for index, part in zip(batch, parts, strict=True):
            for rule in INTERNAL_RULES:
                scores[rule][index] = part[rule]
    return scores


def _score(engine: Engine, samples: Sequence[Sample], style: str | None, tier: str) -> list[dict[str, np.ndarray]]:
    """Per sample the scores [blocks] of every rule."""
    backend, sizes = engine.backend, engine.backend.sizes
    prompts = [engine.prepare(sample.open_image(), sample.question, style, tier) for sample in samples]
    answers = [backend.answer_ids(_reference_answer(sample)) for sample in samples]
    continued = [backend.with_answer(prompt, answer[:-1]) for prompt, answer in zip(prompts, answers, strict=True)]
    with torch.no_grad():
        batch = backend.open_batch([[prompt] for prompt in continued], max_new_tokens=0)
    real = batch.real  # [samples, tokens]
    hidden = batch.hidden.requires_grad_()
    norms, entropies, outputs, updates = [], [], [], []
    for block in removable_blocks(engine):
        with _AttentionInputs() as attention:
            output = batch.block(hidden, block, sizes.top_k, remember=False)
        output.retain_grad()
        update = (output - hidden).detach()
        relative = update.norm(dim=-1) / hidden.detach().norm(dim=-1).clamp(min=1e-12)
        norms.append(_row_means(relative, real))
        entropies.append(1 - _relative_entropy(attention, real))
        outputs.append(output)
        updates.append(update)
        hidden = output
    rows = [states[tokens] for states, tokens in zip(hidden, real, strict=True)]  # each [tokens of the row, d_model]
    _answer_loss(backend, rows, prompts, answers).backward()
    gradients = [(out.grad * update).sum(dim=(1, 2)).abs() for out, update in zip(outputs, updates, strict=True)]
    columns = (torch.stack(part, dim=1).double().cpu().numpy() for part in (norms, gradients, entropies))
    return [dict(zip(INTERNAL_RULES, scores, strict=True)) for scores in zip(*columns, strict=True)]


def _reference_answer(sample: Sample) -> str:
    """The most frequent one."""
    return Counter(sample.answers).most_common(1)[0][0]


def _answer_loss(
    backend: Backend, rows: Sequence[Tensor], prompts: Sequence[Prompt], answers: Sequence[list[int]]
) -> Tensor:
    """Sum over the samples of the mean loss of the answer's tokens, so that each has its own gradient."""
    total = rows[0].new_zeros(())
    for hidden, prompt, answer in zip(rows, prompts, answers, strict=True):
        start = prompt.num_tokens - 1
        logits = backend.logits(hidden[start : start + len(answer)])
        total = total + F.cross_entropy(logits.float(), torch.tensor(answer, device=hidden.device))
    return total


def _row_means(values: Tensor, counted: Tensor) -> Tensor:
    """Means over the counted tokens: [rows, tokens] -> [rows]."""
    return (values.float() * counted).sum(dim=1) / counted.sum(dim=1)


class _AttentionInputs(TorchFunctionMode):
    """Records queries, keys, mask and scale of the one attention call made under it, whatever code makes it."""

    def __init__(self) -> None:
        super().__init__()
        self.query: Tensor | None = None

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is F.scaled_dot_product_attention:
            self.query, self.key = args[0].detach(), args[1].detach()
            self.mask = kwargs.get("attn_mask", args[3] if len(args) > 3 else None)
            self.scale = kwargs.get("scale") or self.query.shape[-1] ** -0.5
        return function(*args, **kwargs)


def _relative_entropy(attention: _AttentionInputs, real: Tensor) -> Tensor:
    """Entropy of the attention weights as a share of the largest possible one, mean over heads and tokens, [rows]."""
    if attention.query is None:
        raise AdaMolmoError("attention_entropy: the decoder made no call of scaled_dot_product_attention to observe.")
    means = []
    for row in range(len(real)):  # one by one: all weights of a batch at once may be too much
        query, key = attention.query[row].float(), attention.key[row].float()  # [heads, tokens, head_dim]
        key = key.repeat_interleave(len(query) // len(key), dim=0)  # heads that share keys may come with one copy
        tokens = query.shape[-2]
        if attention.mask is None:
            mask = torch.ones(tokens, key.shape[-2], dtype=torch.bool, device=query.device).tril()
        else:
            mask = attention.mask[row % len(attention.mask), 0]
        weights = (query @ key.transpose(-1, -2) * attention.scale).masked_fill(~mask, -torch.inf).softmax(dim=-1)
        entropy = -torch.special.xlogy(weights, weights).sum(dim=-1).mean(dim=0)
        visible = mask.sum(dim=-1)
        counted = real[row] & (visible > 1)
        means.append((entropy[counted] / visible[counted].log()).mean())
    return torch.stack(means)
