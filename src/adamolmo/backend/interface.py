"""The interface between the study and a mixture-of-experts vision-language model.

Requests (`inference.engine`), many variants at once (`inference.grid`), block scores, features and training speak to a
`Backend` alone. What travels between its methods is opaque to them: prompts, what vision has seen, caches and prefixes
belong to the backend that made them.

A decoder runs in two parts. The fixed prefix, the first blocks with the model's own top_k, always runs. The rest takes
`DecoderKnobs`: experts per token, and the blocks that run; a block that does not run is the identity and touches no
cache. One request passes

    read_question -> prepare -> to_device -> see -> run_prefix -> first_token -> continue_greedily -> decode_answer
    (text)           (host)                  (vision)  (fixed prefix)  (the rest)    (one token at a time)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from adamolmo.backend.cost import Cost
from adamolmo.knobs import DecoderKnobs

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Picture = Image.Image | np.ndarray  # a PIL image, or uint8 [height, width, 3]


@dataclass(frozen=True)
class Sizes:
    """Attributes:
    num_layers: transformer blocks of the decoder.
    fixed_prefix_layers: those of them that always run.
    d_model: width of hidden states and of the budget token.
    top_k: experts per token that the model was trained with.
    num_experts: the largest top_k.
    max_positions: tokens of a prompt and its answer at most.
    """

    num_layers: int
    fixed_prefix_layers: int
    d_model: int
    top_k: int
    num_experts: int
    max_positions: int

    @property
    def full_knobs(self) -> DecoderKnobs:
        return DecoderKnobs(self.top_k, tuple(range(self.num_layers)))


class Prompt(Protocol):
    """One question about one image at one vision tier, on the host or the device.

    Attributes:
        num_tokens: with those of the image, without a budget token.
        num_crops: what vision encodes: crops, the overview included; image tokens where a model scales whole images.
    """

    @property
    def num_tokens(self) -> int: ...

    @property
    def num_crops(self) -> int: ...

    def pin_memory(self) -> Prompt:
        """A copy in page-locked memory, from where a GPU reads several times as fast."""


class Prefix(Protocol):
    """A prompt after the fixed prefix.

    Attributes:
        num_tokens: of the prompt.
        budget_state: the budget token after the prefix, [1, d_model], if there was one.
    """

    @property
    def num_tokens(self) -> int: ...

    @property
    def budget_state(self) -> Tensor | None: ...


@dataclass(frozen=True)
class Overview:
    """Images seen at their cheapest, for a controller that looks before it chooses the tier.

    Attributes:
        features: of each image's patches, [patches, dim]; images may have different numbers of them.
        reusable: of a single image, what `see` may take instead of encoding it again; None where it cannot.
        cost: of the encoding.
    """

    features: Sequence[Tensor]
    reusable: Any | None
    cost: Cost


@dataclass(frozen=True)
class PromptMemory:
    """What a prompt leaves in the fixed prefix, all that a token behind it can see of it.

    Attributes:
        entries: keys and values, [fixed_prefix_layers, 2, tokens, kv_width].
        position: where the next token stands; the number of tokens, unless image tokens share positions.
    """

    entries: Tensor
    position: int


class Batch(Protocol):
    """Prompts of several images after vision and the fixed prefix, for passes that are not timed.

    Every row of `hidden` has one prompt, or all questions about one image where a model can keep them apart.

    Attributes:
        hidden: after the fixed prefix, [rows, tokens, d_model].
        real: where `hidden` is a token and not padding, [rows, tokens].
    """

    hidden: Tensor
    real: Tensor

    def block(self, hidden: Tensor, block: int, top_k: int, *, remember: bool = True) -> Tensor:
        """One block behind the prefix, [rows, tokens, d_model] -> the same.

        Args:
            remember: store keys and values for `generate`, those of an earlier run of the block being forgotten;
                without, gradients may flow.
        """

    def generate(self, hidden: Tensor, knobs: DecoderKnobs, max_new_tokens: int) -> list[list[list[int]]]:
        """Greedy answers, [image][question] -> token ids without an end token.

        Args:
            hidden: after the last block; of the blocks of `knobs` each was run last on the way to it.
        """

    def memories(self) -> list[PromptMemory]:
        """Of every prompt, where each image has one question."""


class BudgetPrefix(Protocol):
    """The fixed prefix alone, for budget tokens behind stored prompts, with gradients to the tokens."""

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def __call__(self, tokens: Tensor, entries: Tensor, lengths: Tensor, positions: Tensor) -> Tensor:
        """The tokens' states after the prefix, [rows, tokens, d_model].

        Each token stands at the position behind the prompt and does not see the others, as if it were the only one.

        Args:
            tokens: embeddings, [rows, tokens, d_model].
            entries: `PromptMemory.entries` of each prompt, padded on the right,
                [fixed_prefix_layers, 2, rows, slots, kv_width].
            lengths: tokens of each prompt, [rows].
            positions: where each prompt's next token stands, [rows].
        """


class Costs(Protocol):
    """Analytic costs of a request's stages at batch 1.

    Attributes:
        element_bytes: of one weight and of one activation.
    """

    element_bytes: int

    def vision(self, num_crops: int) -> Cost:
        """All of vision, for a prompt's `num_crops`."""

    def prefix(self, num_tokens: int) -> Cost:
        """A prompt (and its budget token, if it has one) through the blocks of the fixed prefix."""

    def adaptive(self, num_tokens: int, knobs: DecoderKnobs) -> Cost:
        """A prompt through the active blocks behind the prefix, and the head for its last token."""

    def decode(self, prompt_tokens: int, steps: int, knobs: DecoderKnobs) -> Cost:
        """`steps` forward passes of one token each, after a prompt of `prompt_tokens`."""

    def memory_bytes(self, num_crops: int, num_tokens: int, max_new_tokens: int, top_k: int) -> int:
        """Estimated peak memory of a request: all weights, the cache and the largest stage's activations."""

    def num_weights(self) -> int: ...


class Backend(Protocol):
    """One model, ready for requests, of which it answers one at a time.

    Attributes:
        name: the architecture, as `model_type` of the checkpoint's configuration says it.
        tiers: names of the vision tiers, cheapest first.
        decoding_on_gpu: how tokens follow each other on a GPU, such as "CUDA graphs"; latencies of two ways must not be
            compared.
        device, dtype: of the weights.
    """

    name: str
    decoding_on_gpu: str
    sizes: Sizes
    tiers: tuple[str, ...]
    costs: Costs
    device: torch.device
    dtype: torch.dtype

    # Text and images, on the host.

    def read_question(self, question: str, style: str | None) -> Any:
        """The tokenised question in the model's prompt format.

        Args:
            style: the prompt's style, for example "text_vqa"; None for none.
        """

    def pool_question(self, question: Any) -> Tensor:
        """The mean embedding of the prompt's text, [1, d_model], float32 on the device; special tokens do not count."""

    def prompt_size(self, image: Picture, question: Any, tier: str) -> tuple[int, int]:
        """`num_crops` and `num_tokens` that `prepare` will give, from the image's size alone."""

    def largest_prompt(self, question: Any) -> tuple[int, int]:
        """`num_crops` and `num_tokens` of the question with the largest image at the dearest tier, at most."""

    def group_size(self, image: Picture, questions: Sequence[Any], tier: str) -> tuple[int, int]:
        """Crops and tokens that an image with all its questions adds to a `Batch`."""

    def prompt_room(self, max_new_tokens: int) -> int:
        """Tokens that a prompt may have beside an answer."""

    def prepare(self, image: Picture, questions: Sequence[Any], tier: str, room: int) -> list[Prompt]:
        """A prompt per question about the image, which is processed once.

        Raises AdaMolmoError for a question without tokens, and for a prompt of more than `room` tokens.
        """

    def decode_answer(self, tokens: Sequence[int]) -> str: ...

    def answer_ids(self, text: str) -> list[int]:
        """What the model would have to say to give this answer, with an end token."""

    # One request.

    def to_device(self, prompt: Prompt) -> Prompt: ...

    def load_overview(self, image: Picture) -> Any:
        """The host's part of `encode_overviews`."""

    def encode_overviews(self, loaded: Sequence[Any]) -> Overview:
        """Images at their cheapest, as `load_overview` gave them."""

    def see(self, prompt: Prompt, overview: Any | None = None) -> tuple[Any, Cost]:
        """What `run_prefix` needs of the image, and what that cost.

        Args:
            overview: `Overview.reusable` of the same image.
        """

    def prepare_decoder(self, knobs: DecoderKnobs) -> None:
        """Does beforehand what the first request with these knobs would have to wait for."""

    def new_cache(self, num_positions: int) -> Any:
        """The cache of the next request, which ends the one before."""

    def run_prefix(self, prompt: Prompt, seen: Any, cache: Any, budget_token: Tensor | None = None) -> Prefix:
        """The prompt through the fixed prefix.

        Args:
            budget_token: [1, d_model]; stands behind the prompt. No other token can see it.
        """

    def first_token(self, prefix: Prefix, knobs: DecoderKnobs, cache: Any) -> Tensor:
        """The prompt through the rest: the answer's first token, [1]."""

    def continue_greedily(
        self, first: Tensor, prefix: Prefix, knobs: DecoderKnobs, cache: Any, max_new_tokens: int
    ) -> list[int]:
        """The answer's tokens without an end token, of which `first` is the first, [1]."""

    # Many requests at once.

    def open_batch(self, groups: Sequence[Sequence[Prompt]], max_new_tokens: int) -> Batch:
        """Vision and the fixed prefix of several images, each with its questions.

        Args:
            max_new_tokens: that `generate` may be asked for; 0 where it will not be.
        """

    def with_answer(self, prompt: Prompt, tokens: Sequence[int]) -> Prompt:
        """The prompt with an answer's tokens behind it."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Final norm and head: [..., d_model] -> [..., vocabulary]."""
