"""Several questions about one image as one row of a batch: the image's tokens once, then each question's own tokens.

A question sees the shared tokens and itself, and stands where it would stand alone, so its hidden states are those of
its own prompt. This is for passes that are not timed; a request never shares anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adamolmo.model.decoder import Positions, Rotary
from adamolmo.model.inputs import PADDING, ModelInputs

_SHARED, _PADDED = -1, -2


@dataclass(frozen=True)
class PackedPrompts:
    """Prompts of a batch of images, padded on the right.

    Attributes:
        input_ids: [images, tokens], -1 is padding.
        position_ids: where a token stands in its own prompt, [images, tokens].
        segments: number of the question that a token belongs to, below 0 for shared tokens and padding,
            [images, tokens].
        last: index of each question's last token, [images, questions]; 0 where an image has fewer questions.
        lengths: tokens of each question's whole prompt, [images, questions].
        asked: whether the question exists, [images, questions].
    """

    input_ids: Tensor
    position_ids: Tensor
    segments: Tensor
    last: Tensor
    lengths: Tensor
    asked: Tensor

    @property
    def real(self) -> Tensor:
        """Where a token is no padding, [images, tokens]."""
        return self.segments != _PADDED

    def to(self, device: torch.device) -> "PackedPrompts":
        return PackedPrompts(**{name: tensor.to(device) for name, tensor in vars(self).items()})

    def prompt_positions(self, rotary: Rotary) -> Positions:
        tokens = self.input_ids.shape[1]
        queries, keys = self.segments[:, :, None], self.segments[:, None, :]  # to [images, tokens, tokens]
        causal = torch.ones(tokens, tokens, dtype=torch.bool, device=keys.device).tril()
        # A padded query would see nothing at all and give NaN: let it see itself; nobody reads its output.
        itself = torch.eye(tokens, dtype=torch.bool, device=keys.device)
        mask = causal & ((keys == _SHARED) | (keys == queries)) | itself  # [images, tokens, tokens]
        return Positions(*rotary(self.position_ids), mask=mask[:, None], slots=None, num_keys=tokens)

    def decode_positions(self, rotary: Rotary, step: int) -> Positions:
        """Of the `step`-th token (from 0) that every question decodes; each has a cache slot of its own."""
        images, questions = self.last.shape
        tokens, device = self.input_ids.shape[1], self.last.device
        number = torch.arange(questions, device=device)
        segments = self.segments[:, None, :]
        prompt = (segments == _SHARED) | (segments == number[:, None])  # [images, questions, tokens]
        # Of the slots behind the prompt a question sees its own: [images, questions, (step + 1) * questions].
        decoded = torch.eye(questions, dtype=torch.bool, device=device).repeat(1, step + 1).expand(images, -1, -1)
        slots = (tokens + step * questions + number).expand(images, -1)  # [images, questions]
        mask = torch.cat([prompt, decoded], dim=-1)[:, None]  # [images, 1, questions, keys]
        return Positions(*rotary(self.lengths + step), mask=mask, slots=slots, num_keys=tokens + (step + 1) * questions)


def pack(groups: Sequence[Sequence[ModelInputs]]) -> PackedPrompts:
    """Prompts of each image; those of one group have the image, and so the ids of its tokens, in common."""
    rows = [_pack_row([inputs.input_ids[0].tolist() for inputs in group]) for group in groups]
    prompt_columns, question_columns = zip(*rows, strict=True)
    ids, positions, segments = (
        _padded(column, padding)
        for column, padding in zip(zip(*prompt_columns, strict=True), (PADDING, 0, _PADDED), strict=True)
    )
    last, lengths = (_padded(column, 0) for column in zip(*question_columns, strict=True))
    return PackedPrompts(ids, positions, segments, last, lengths, lengths > 0)


def _pack_row(prompts: list[list[int]]) -> tuple[tuple[list[int], ...], tuple[list[int], ...]]:
    """(ids, positions, segments) per token, and (last, lengths) per question."""
    shared = _common_length(prompts)
    ids, positions, segments = prompts[0][:shared], list(range(shared)), [_SHARED] * shared
    last = []
    for number, prompt in enumerate(prompts):
        ids += prompt[shared:]
        positions += range(shared, len(prompt))
        segments += [number] * (len(prompt) - shared)
        last.append(len(ids) - 1)
    return (ids, positions, segments), (last, [len(prompt) for prompt in prompts])


def _common_length(prompts: list[list[int]]) -> int:
    """Tokens with which all prompts begin; the last token of each stays its own, for its answer follows it."""
    shortest = min(len(prompt) for prompt in prompts) - 1
    same = (len({prompt[index] for prompt in prompts}) == 1 for index in range(shortest))
    return next((index for index, equal in enumerate(same) if not equal), shortest)


def _padded(rows: Sequence[list[int]], padding: int) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [padding] * (longest - len(row)) for row in rows])
