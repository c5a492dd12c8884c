"""What the model's forward pass reads: ids, crops and where the crops' features go; alone or as a batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from adamolmo.errors import AdaMolmoError
from adamolmo.model.preprocess import ImageCrops, PreprocessConfig, image_token_ids
from adamolmo.model.tokenizer import SpecialTokens

PADDING = -1


@dataclass(frozen=True)
class ModelInputs:
    """Padding is -1 everywhere; rows are padded on the right.

    input_ids: int64 [batch, tokens] = BOS, image tokens, prompt.
    attention_mask: int64 [batch, tokens], 1 = a real token.
    pixels: float32 [batch, crops, patches, patch*patch*3].
    masks: float32 [batch, crops, patches], see ImageCrops.
    image_input_idx: int64 [batch, crops, tokens per crop], position in input_ids, negative = dropped.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    pixels: torch.Tensor
    masks: torch.Tensor
    image_input_idx: torch.Tensor

    @property
    def num_crops(self) -> int:
        return self.pixels.shape[1]

    @property
    def num_tokens(self) -> int:
        return self.input_ids.shape[1]

    def pin_memory(self) -> "ModelInputs":
        """A copy in page-locked memory, from where a GPU reads several times as fast."""
        return ModelInputs(**{name: tensor.pin_memory() for name, tensor in vars(self).items()})

    def followed_by(self, tokens: Sequence[int]) -> "ModelInputs":
        """One prompt with these ids behind it."""
        ids = torch.cat([self.input_ids, torch.tensor([list(tokens)], dtype=torch.long)], dim=1)
        return replace(self, input_ids=ids, attention_mask=torch.ones_like(ids))

    def to(self, device: torch.device, dtype: torch.dtype) -> "ModelInputs":
        """A copy on the device, crops in the model's dtype. From page-locked memory the host does not wait for it.

        Crops are converted on the device: the host would take longer for that than a GPU for the whole vision stage.
        """
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in vars(self).items()}
        return ModelInputs(**moved | {name: moved[name].to(dtype) for name in ("pixels", "masks")})


def build_inputs(
    question_ids: Sequence[int], crops: ImageCrops, config: PreprocessConfig, specials: SpecialTokens
) -> ModelInputs:
    """Inputs of one request, batch 1, from the prompt's ids and the image.

    Raises AdaMolmoError for an empty prompt.
    """
    if not question_ids:
        raise AdaMolmoError("the prompt has no tokens: expected a question")
    input_ids = torch.tensor([[specials.eos, *image_token_ids(crops.tiling, config, specials), *question_ids]])
    positions = crops.patch_positions
    return ModelInputs(
        input_ids=input_ids,
        attention_mask=torch.ones_like(input_ids),
        pixels=crops.pixels[None],
        masks=crops.masks[None],
        image_input_idx=torch.where(positions < 0, positions, positions + 1)[None],  # BOS comes first
    )


def collate(rows: Sequence[ModelInputs]) -> ModelInputs:
    """One batch of several. Raises AdaMolmoError if there are none."""
    if not rows:
        raise AdaMolmoError("a batch has no rows: expected at least one")
    return ModelInputs(
        input_ids=_stack([row.input_ids for row in rows], PADDING),
        attention_mask=_stack([row.attention_mask for row in rows], 0),
        pixels=_stack([row.pixels for row in rows], PADDING),
        masks=_stack([row.masks for row in rows], PADDING),
        image_input_idx=_stack([row.image_input_idx for row in rows], PADDING),
    )


def _stack(tensors: list[torch.Tensor], padding: int) -> torch.Tensor:
    """Concatenates on dimension 0 after padding dimension 1 to the longest."""
    length = max(tensor.shape[1] for tensor in tensors)
    batch = tensors[0].new_full((sum(map(len, tensors)), length, *tensors[0].shape[2:]), padding)
    row = 0
    for tensor in tensors:
        batch[row : row + len(tensor), : tensor.shape[1]] = tensor
        row += len(tensor)
    return batch
