"""Text and images as a model's inputs, on the host: no weights, no torchvision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor

from adamolmo.backend.interface import Picture
from adamolmo.data.images import as_rgb, upright_size
from adamolmo.errors import AdaMolmoError, quoted, stable
from adamolmo.transformers_backend.families import Family, ImageSize
from adamolmo.transformers_backend.library import explained, transformers

# A style asks for the datasets' kind of answer, in the words of LLaVA-1.5 (arXiv 2310.03744).
_SHORT_ANSWER = "\nAnswer the question using a single word or phrase."


@dataclass(frozen=True)
class Question:
    """Attributes:
    ids: of the whole prompt, with one token for the image.
    own: of the question alone.
    """

    ids: tuple[int, ...]
    own: tuple[int, ...]


@dataclass(frozen=True)
class ImagePrompt:
    """One question about one image at one tier, batch 1.

    Attributes:
        input_ids: [1, tokens].
        image: what the model's vision takes; prompts about one image share it.
        num_crops: `ImageSize.units`.
    """

    input_ids: Tensor
    image: Mapping[str, Tensor]
    num_crops: int
    tier: str

    @property
    def num_tokens(self) -> int:
        return self.input_ids.shape[1]

    def pin_memory(self) -> ImagePrompt:
        image = {name: tensor.pin_memory() for name, tensor in self.image.items()}
        return replace(self, input_ids=self.input_ids.pin_memory(), image=image)

    def to(self, device: torch.device, dtype: torch.dtype) -> ImagePrompt:
        """A copy on the device, pixels in the model's dtype."""
        return replace(
            self,
            input_ids=self.input_ids.to(device, non_blocking=True),
            image=image_to(self.image, device, dtype),
        )


def image_to(image: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    moved = {name: tensor.to(device, non_blocking=True) for name, tensor in image.items()}
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in moved.items()}


class Pictures:
    """Images by vision tier.

    Args:
        directory: with `preprocessor_config.json`.
        tiers: arguments of the image processor's call, cheapest first.
    """

    def __init__(self, directory: Path, family: Family, config: Any, tiers: Mapping[str, Mapping[str, Any]]):
        """Raises AdaMolmoError for a missing file, and for a tier that the image processor does not take."""
        self.family, self.config, self.tiers = family, config, tiers
        path = directory / "preprocessor_config.json"
        if not path.is_file():
            raise AdaMolmoError(f"{directory}: has no preprocessor_config.json; expected the settings for images.")
        with explained(path):
            cls = getattr(transformers, family.image_processor)
            self.image_processor = cls.from_pretrained(directory, local_files_only=True)
        for tier, arguments in tiers.items():
            self._check(tier, arguments)

    def load(self, image: Picture, tier: str) -> tuple[dict[str, Tensor], ImageSize]:
        """What vision takes of the image, and what it becomes."""
        arguments = self.arguments(tier)
        return self.read(image, arguments), self.size(*upright_size(image), tier)

    def read(self, image: Picture, arguments: Mapping[str, Any]) -> dict[str, Tensor]:
        picture = as_rgb(image if isinstance(image, Image.Image) else Image.fromarray(image))
        found = self.image_processor(images=[picture], return_tensors="pt", **arguments)
        return {name: torch.as_tensor(found[name]) for name in self.family.image_inputs if name in found}

    def size(self, height_px: int, width_px: int, tier: str) -> ImageSize:
        """Of an image of this size, without its pixels."""
        return self.size_with(self.arguments(tier), height_px, width_px)

    def size_with(self, arguments: Mapping[str, Any], height_px: int, width_px: int) -> ImageSize:
        return self.family.image_size(self.config, self.image_processor, arguments, height_px, width_px)

    def size_of(self, image: Picture, tier: str) -> ImageSize:
        return self.size(*upright_size(image), tier)

    def largest(self, tier: str) -> ImageSize:
        """Of all images, by trying large ones of many shapes."""
        sides = range(1, 13)
        sizes = [self.size(512 * height, 512 * width, tier) for height in sides for width in sides]
        return ImageSize(max(size.units for size in sizes), max(size.tokens for size in sizes))

    def arguments(self, tier: str) -> Mapping[str, Any]:
        if tier not in self.tiers:
            raise AdaMolmoError(f"tier is {quoted(tier)}; expected one of {', '.join(self.tiers)}.")
        return self.tiers[tier]

    def _check(self, tier: str, arguments: Mapping[str, Any]) -> None:
        """Tries the tier: what it becomes must be what its size says."""
        allowed = self.family.tier_arguments
        if unknown := sorted(set(arguments) - allowed):
            raise AdaMolmoError(
                f"tier '{tier}' sets {', '.join(map(quoted, unknown))}; for {self.family.model_type} expected "
                f"{', '.join(sorted(allowed))}."
            )
        try:
            self.load(Image.new("RGB", (40, 30)), tier)
            self.largest(tier)
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
            raise AdaMolmoError(
                f"tier '{tier}': {self.family.image_processor} does not take {quoted(dict(arguments))} "
                f"({stable(str(error))})."
            ) from error


class Texts:
    """The tokenizer with the model's prompt.

    Args:
        directory: with `tokenizer.json`; its chat template, where it has one, is the prompt.

    Attributes:
        prompt: with the image's token, and {question}.
        image, image_id: the image's token.
    """

    def __init__(self, directory: Path, family: Family, config: Any):
        """Raises AdaMolmoError for an unusable tokenizer, one without the prompt's tokens, or one that does not fit."""
        path = directory / "tokenizer.json"
        if not path.is_file():
            raise AdaMolmoError(f"{path} does not exist: expected the tokenizer's vocabulary.")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain Exception for every defect of the file
            raise AdaMolmoError(f"{path} is not a tokenizer of the `tokenizers` library: {error}") from None
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.image_id = config.image_token_id
        self.image = self._tokenizer.id_to_token(self.image_id)
        if self.image is None:
            raise AdaMolmoError(f"{path} has no token {self.image_id}; expected the image token of config.json.")
        vocabulary = config.get_text_config().vocab_size
        if (largest := max(self._tokenizer.get_vocab(with_added_tokens=True).values())) >= vocabulary:
            raise AdaMolmoError(f"{path} has ids up to {largest}; the model's embedding has {vocabulary} rows.")
        self.prompt = _chat_template(directory, self.image) or family.prompt.replace("{image}", self.image)
        self._special = {
            token_id for token_id, token in self._tokenizer.get_added_tokens_decoder().items() if token.special
        }

    def read(self, question: str, style: str | None) -> Question:
        """Raises AdaMolmoError for a question that has the image token's text."""
        asked = question if style is None else question + _SHORT_ANSWER
        ids = self._encode(self.prompt.replace("{question}", asked))
        if ids.count(self.image_id) != 1:
            raise AdaMolmoError(f"question {quoted(question)} has the text {self.image}; expected no image token.")
        return Question(tuple(ids), tuple(self._encode(question)))

    def expand(self, question: Question, image_tokens: int) -> list[int]:
        """The prompt's ids with all tokens of the image."""
        if not question.own:
            raise AdaMolmoError("the question has no tokens; expected some text.")
        at = question.ids.index(self.image_id)
        return [*question.ids[:at], *[self.image_id] * image_tokens, *question.ids[at + 1 :]]

    def text_ids(self, question: Question) -> list[int]:
        """Of the prompt, special tokens left out."""
        return [token for token in question.ids if token not in self._special]

    def answer(self, text: str) -> list[int]:
        return self._encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=True).strip()

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids


def _chat_template(directory: Path, image_token: str) -> str | None:
    """A user's turn about an image in the checkpoint's own template, with {question}; None where it has none."""
    with explained(directory / "tokenizer_config.json"):
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(directory, local_files_only=True)
    if tokenizer.chat_template is None:
        return None
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "{question}"}]}
    try:
        text = tokenizer.apply_chat_template([turn], tokenize=False, add_generation_prompt=True, enable_thinking=False)
    except Exception as error:  # whatever a template's own code raises
        raise AdaMolmoError(f"{directory}: its chat template cannot be used ({stable(str(error))}).") from error
    if text.count(image_token) != 1 or text.count("{question}") != 1:
        raise AdaMolmoError(
            f"{directory}: its chat template makes {quoted(text)} of a question about an image; expected "
            f"{image_token} and the question once."
        )
    return text
