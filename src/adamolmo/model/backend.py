"""MolmoE behind the study's interface (`backend.interface`). Its vision tiers are ranges of high-resolution crops."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from adamolmo.backend.cost import Cost
from adamolmo.backend.interface import Overview, Picture, Sizes
from adamolmo.backend.prompts import check_length
from adamolmo.data.images import upright_size
from adamolmo.knobs import DecoderKnobs
from adamolmo.model.batch import PackedBatch
from adamolmo.model.cost import CostModel
from adamolmo.model.decoder import KVCache
from adamolmo.model.decoding import greedy_decoder
from adamolmo.model.inputs import ModelInputs, build_inputs
from adamolmo.model.molmoe import MolmoE, PrefixState
from adamolmo.model.preprocess import (
    CropRange,
    PreprocessConfig,
    image_size,
    most_image_tokens,
    num_pictures,
    preprocess,
    preprocess_overview,
)
from adamolmo.model.tokenizer import Tokenizer, format_prompt


class MolmoEBackend:
    """Args:
    tiers: crops of each vision tier, by name, cheapest first.
    """

    name = "molmo"
    decoding_on_gpu = "CUDA graphs"

    def __init__(self, model: MolmoE, tokenizer: Tokenizer, tiers: Mapping[str, CropRange]):
        self.model = model
        self.tokenizer = tokenizer
        self.crop_ranges = dict(tiers)
        self.tiers = tuple(tiers)
        config, weight = model.config, model.lm_head.weight
        self.device, self.dtype = weight.device, weight.dtype
        self.sizes = Sizes(
            config.num_layers,
            config.fixed_prefix_layers,
            config.d_model,
            config.top_k,
            config.num_experts,
            config.max_positions,
        )
        self.preprocess_config = PreprocessConfig.of_model(config)
        self.costs = CostModel(config, weight.element_size())
        self.decoder = greedy_decoder(model, tokenizer.eos_id)

    # Text and images, on the host. A question is the list of its ids.

    def read_question(self, question: str, style: str | None) -> list[int]:
        return self.tokenizer.encode(format_prompt(question, style))

    def pool_question(self, question: list[int]) -> Tensor:
        vocabulary = self.model.transformer["wte"].embedding
        ids = torch.tensor([token for token in question if token < len(vocabulary)], device=self.device)
        return vocabulary[ids].float().mean(dim=0, keepdim=True)

    def prompt_size(self, image: Picture, question: list[int], tier: str) -> tuple[int, int]:
        crops = self.crop_ranges[tier]
        num_crops, tokens = image_size(*upright_size(image), crops.min_crops, crops.max_crops, self.preprocess_config)
        return num_crops, 1 + tokens + len(question)

    def largest_prompt(self, question: list[int]) -> tuple[int, int]:
        num_crops = 1 + max(crops.max_crops for crops in self.crop_ranges.values())
        image_tokens = max(
            most_image_tokens(crops.min_crops, crops.max_crops, self.preprocess_config)
            for crops in self.crop_ranges.values()
        )
        return num_crops, 1 + image_tokens + len(question)

    def group_size(self, image: Picture, questions: Sequence[list[int]], tier: str) -> tuple[int, int]:
        """One row: the image's tokens once, each question with the style that it has in common with the others."""
        num_crops, alone = self.prompt_size(image, questions[0], tier)
        return num_crops, alone + sum(map(len, questions[1:]))

    def prompt_room(self, max_new_tokens: int) -> int:
        return self.model.config.max_positions - max_new_tokens

    def prepare(self, image: Picture, questions: Sequence[list[int]], tier: str, room: int) -> list[ModelInputs]:
        crop_range, specials = self.crop_ranges[tier], self.tokenizer.specials
        crops = preprocess(image, crop_range.min_crops, crop_range.max_crops, self.preprocess_config)
        prompts = [build_inputs(question, crops, self.preprocess_config, specials) for question in questions]
        for prompt in prompts:
            check_length(prompt.num_tokens, room)
        return prompts

    def decode_answer(self, tokens: Sequence[int]) -> str:
        return self.tokenizer.decode(tokens).strip()

    def answer_ids(self, text: str) -> list[int]:
        return [*self.tokenizer.encode(f" {text}"), self.tokenizer.eos_id]

    # One request.

    def to_device(self, prompt: ModelInputs) -> ModelInputs:
        return prompt.to(self.device, self.dtype)

    def load_overview(self, image: Picture) -> Tensor:
        return preprocess_overview(image, self.preprocess_config)

    def encode_overviews(self, loaded: Sequence[Tensor]) -> Overview:
        pixels = torch.stack(list(loaded))  # [images, 1, patches, patch_dim]
        patches = self.model.vision_backbone.encode(pixels.to(self.device, self.dtype))  # [images, 1, patches, dim]
        return Overview(list(patches[:, 0]), reusable=patches, cost=self.costs.tower(len(loaded)))

    def see(self, prompt: ModelInputs, overview: Tensor | None = None) -> tuple[Tensor, Cost]:
        """Image features, [1, crops, tokens_per_crop, d_model].

        Args:
            overview: patch features of the overview crop, whose tower does not run again, [1, 1, patches, dim].
        """
        backbone, num_crops = self.model.vision_backbone, prompt.num_crops
        pictures = prompt.pixels[:, : num_pictures(num_crops)]
        seen, unseen = ([], pictures) if overview is None else ([overview], pictures[:, 1:])
        cost = self.costs.connector(num_crops)
        if unseen.shape[1]:
            seen = [*seen, backbone.encode(unseen)]
            cost += self.costs.tower(unseen.shape[1])
        features = torch.cat(seen, dim=1).expand(-1, num_crops, -1, -1)  # [1, crops, patches, dim]
        return backbone.connect(features, prompt.masks), cost

    def prepare_decoder(self, knobs: DecoderKnobs) -> None:
        self.decoder.prepare(knobs)

    def new_cache(self, num_positions: int) -> KVCache:
        return self.decoder.new_cache(num_positions)

    def run_prefix(
        self, prompt: ModelInputs, seen: Tensor, cache: KVCache, budget_token: Tensor | None = None
    ) -> PrefixState:
        embedded = self.model.embed(prompt.input_ids, seen, prompt.image_input_idx)  # [1, tokens, d_model]
        return self.model.run_prefix(embedded, cache=cache, budget_token=budget_token)

    def first_token(self, prefix: PrefixState, knobs: DecoderKnobs, cache: KVCache) -> Tensor:
        return self.model.next_token_logits(prefix, knobs, cache).argmax(dim=-1)

    def continue_greedily(
        self, first: Tensor, prefix: PrefixState, knobs: DecoderKnobs, cache: KVCache, max_new_tokens: int
    ) -> list[int]:
        return self.decoder.continue_greedily(first, prefix, knobs, cache, max_new_tokens)

    # Many requests at once.

    def open_batch(self, groups: Sequence[Sequence[ModelInputs]], max_new_tokens: int) -> PackedBatch:
        return PackedBatch(self.model, self.tokenizer.eos_id, groups, max_new_tokens)

    def with_answer(self, prompt: ModelInputs, tokens: Sequence[int]) -> ModelInputs:
        return prompt.followed_by(tokens)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.model.logits(hidden)
