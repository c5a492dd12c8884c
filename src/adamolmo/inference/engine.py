"""One request: image, question and limit in; answer, chosen knobs and stage times out.

Evaluation, the timed pass of the profile, lmms-eval and the command line all answer through `Engine.answer`. A request
passes these stages, in which the controller decides twice:

    image, question, limit -> stage 1: the tier -> vision -> fixed prefix -> stage 2: top_k and blocks
        -> the active blocks behind the prefix -> decoding -> answer
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import read_json
from adamolmo.files.model import Manifest
from adamolmo.inference.clock import Clock, StageTimer, StageTimes
from adamolmo.inference.controller import (
    Controller,
    Decision,
    Limit,
    RequestSize,
    Stage1Inputs,
    decides_by_network,
)
from adamolmo.inference.gpu_memory import explain_out_of_memory
from adamolmo.inference.ranking import load_ranking
from adamolmo.inference.readings import make_thumbnail, summarise_overview
from adamolmo.knobs import BlockRanking, CropRange, DecoderKnobs, KnobConfig
from adamolmo.model.checkpoint import check_prepared, load_model
from adamolmo.model.config import MolmoEConfig
from adamolmo.model.cost import Cost, CostModel
from adamolmo.model.decoder import KVCache
from adamolmo.model.decoding import greedy_decoder
from adamolmo.model.inputs import ModelInputs, build_inputs
from adamolmo.model.molmoe import MolmoE, PrefixState
from adamolmo.model.preprocess import PreprocessConfig, image_size, preprocess, preprocess_overview, upright_size
from adamolmo.model.tokenizer import Tokenizer, format_prompt

# What the modelled clock books for one decision: a table is read, or two small networks run.
_TABLE_DECISION = Cost(launches=1)
_NETWORK_DECISION = Cost(launches=20)
_ON_THE_HOST = Cost()  # preprocessing has no modelled time

Picture = Image.Image | np.ndarray  # a PIL image, or uint8 [height, width, 3]


@dataclass(frozen=True)
class Response:
    """An answered request.

    Attributes:
        stages: the latency is `stages.total_ms`.
        num_crops: image crops encoded, the overview included.
        input_tokens: length of the prompt with the image's tokens.
        output_tokens: length of the answer without the end token.
        flops: of all stages, without the controller's.
        memory_bytes: peak memory; measured on a GPU, estimated on the CPU.
        network_decided: whether the controller asked a network rather than a table (`decides_by_network`).
    """

    answer: str
    config: KnobConfig
    stages: StageTimes
    num_crops: int
    input_tokens: int
    output_tokens: int
    flops: float
    memory_bytes: int
    network_decided: bool


@dataclass
class _Request:
    """A request on its way: what is asked, who chooses the knobs, and where its time and its work are booked."""

    image: Picture
    question_ids: list[int]
    controller: Controller
    limit: Limit
    timer: StageTimer
    flops: float = 0.0

    def mark(self, stage: str, cost: Cost = _ON_THE_HOST) -> None:
        """Ends a stage, or a part of one."""
        self.timer.mark(stage, cost)
        self.flops += cost.flops


@dataclass(frozen=True)
class _Run:
    """What a request leaves behind once its tensors are gone. Decoding is not marked yet."""

    answer: str
    config: KnobConfig
    num_crops: int
    input_tokens: int
    output_tokens: int
    decode: Cost
    network_decided: bool


@dataclass(frozen=True)
class _Stage1:
    """What the decision before vision leaves for the rest of the request.

    Attributes:
        overview: patch features of the overview crop, [1, 1, patches, feature_dim], if the controller had it encoded.
        budget_token: [1, d_model], if the controller decides again after the fixed prefix.
        network: whether a network decides.
    """

    decision: Decision
    overview: Tensor | None
    budget_token: Tensor | None
    network: bool

    @property
    def cost(self) -> Cost:
        """Of one decision."""
        return _NETWORK_DECISION if self.network else _TABLE_DECISION


class Engine:
    """A model with everything that is needed to answer requests one at a time.

    Args:
        ranking: which blocks stay active at each count.
        tiers: crops of each vision tier, by name, cheapest first.
        clock: what a millisecond is.

    Attributes:
        reuse_overview: False encodes the overview crop again although a controller has had it encoded; only for
            measuring what the reuse saves.
    """

    reuse_overview = True

    def __init__(
        self,
        model: MolmoE,
        tokenizer: Tokenizer,
        ranking: BlockRanking,
        tiers: Mapping[str, CropRange],
        clock: Clock,
        max_new_tokens: int,
    ):
        self.model = model
        self.tokenizer = tokenizer
        self.ranking = ranking
        self.tiers = dict(tiers)
        self.clock = clock
        self.max_new_tokens = max_new_tokens
        config, weight = model.config, model.lm_head.weight
        self.device, self.dtype = weight.device, weight.dtype
        self.preprocess_config = PreprocessConfig.of_model(config)
        self.costs = CostModel(config, weight.element_size())
        self.decoder = greedy_decoder(model, tokenizer.eos_id)

    @classmethod
    def load(
        cls,
        model_dir: Path,
        importance_path: Path | None,
        *,
        configs: Iterable[KnobConfig],
        tiers: Mapping[str, CropRange],
        clock: Clock,
        max_new_tokens: int,
        fixed_prefix_layers: int = 3,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> "Engine":
        """The engine of a prepared model directory (with `manifest.json` beside the checkpoint).

        Args:
            importance_path: which blocks stay active; without importance scores (None) only all blocks can run.
            configs: what requests will run with; the decoder is made ready for them.

        Raises AdaMolmoError when a file is missing, unusable, or the scores belong to another model.
        """
        check_prepared(Path(model_dir))
        model_config = MolmoEConfig.load(Path(model_dir) / "config.json", fixed_prefix_layers)
        ranking = BlockRanking(model_config.num_layers, ())
        if importance_path is not None:
            checksum = read_json(Path(model_dir) / "manifest.json", Manifest).checksum
            ranking = load_ranking(importance_path, checksum, model_config.num_layers)
        costs = CostModel(model_config, dtype.itemsize)
        with explain_out_of_memory(lambda: (str(model_dir), costs.num_weights() * dtype.itemsize)):
            model = load_model(model_dir, fixed_prefix_layers, dtype, device)
            tokenizer = Tokenizer.load(model_dir).fitting(model_config)
            engine = cls(model, tokenizer, ranking, tiers, clock, max_new_tokens)
            engine.prepare_decoder(configs)
        return engine

    def prepare_decoder(self, configs: Iterable[KnobConfig]) -> None:
        """Makes decoding ready for those of the configurations that the ranking has an answer for.

        On a GPU a configuration's first use records a CUDA graph, which no request's latency should contain.
        """
        for config in configs:
            if config.num_active_blocks in self.ranking.counts:
                self.decoder.prepare(self.decoder_knobs(config))

    def crop_range(self, tier: str) -> CropRange:
        if tier not in self.tiers:
            raise AdaMolmoError(f"tier is '{tier}'; expected one of {', '.join(self.tiers)}.")
        return self.tiers[tier]

    def decoder_knobs(self, config: KnobConfig) -> DecoderKnobs:
        """Raises AdaMolmoError for a top_k or a number of blocks that this model cannot run with."""
        num_experts = self.model.config.num_experts
        if not 1 <= config.top_k <= num_experts:
            raise AdaMolmoError(f"top_k is {config.top_k}; this model has {num_experts} experts, expected 1 to that.")
        return self.ranking.decoder_knobs(config)

    def question_ids(self, question: str, style: str | None) -> list[int]:
        return self.tokenizer.encode(format_prompt(question, style))

    def prepare(self, image: Picture, question: str, style: str | None, tier: str) -> ModelInputs:
        """The model's inputs for one request, batch 1, still on the host."""
        return self._build_inputs(image, self.question_ids(question, style), tier)

    def _build_inputs(self, image: Picture, question_ids: list[int], tier: str) -> ModelInputs:
        crop_range = self.crop_range(tier)
        crops = preprocess(image, crop_range.min_crops, crop_range.max_crops, self.preprocess_config)
        most_tokens = self.model.config.most_prompt_tokens(self.max_new_tokens)
        return build_inputs(question_ids, crops, self.preprocess_config, self.tokenizer.specials, most_tokens)

    def prompt_length(self, image: Image.Image, question: str, style: str | None, tier: str) -> int:
        """Tokens of the prompt of `prepare`, from the image's size alone."""
        _, num_tokens = self._image_size(*upright_size(image), tier)
        return 1 + num_tokens + len(self.question_ids(question, style))

    def request_size(self, image: Image.Image | np.ndarray, question_ids: list[int]) -> RequestSize:
        """At every tier, from the image's size alone."""
        height, width = upright_size(image)
        num_crops, num_tokens = zip(*(self._image_size(height, width, tier) for tier in self.tiers), strict=True)
        return RequestSize(num_crops, tuple(1 + tokens + len(question_ids) for tokens in num_tokens))

    def _image_size(self, height_px: int, width_px: int, tier: str) -> tuple[int, int]:
        """Crops, the overview included, and image tokens."""
        crop_range = self.crop_range(tier)
        return image_size(height_px, width_px, crop_range.min_crops, crop_range.max_crops, self.preprocess_config)

    def decode_answer(self, tokens: list[int]) -> str:
        return self.tokenizer.decode(tokens).strip()

    def answer(
        self, image: Picture, question: str, style: str | None, controller: Controller, limit: Limit
    ) -> Response:
        """Answers one request with the knobs that the controller chooses on the way.

        Args:
            style: the prompt's style, for example "text_vqa"; None for none.

        Raises AdaMolmoError when the controller chooses a tier, top_k or number of blocks that does not exist, the
        prompt leaves the model no room for an answer, or the GPU's memory does not suffice.
        """
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        with explain_out_of_memory(lambda: (controller.name, self._largest_request_bytes())):
            timer = self.clock.start()
            request = _Request(image, self.question_ids(question, style), controller, limit, timer)
            run = self._run(request)
        request.mark("decode", run.decode)  # its tensors' memory is free again by now: that took time, too
        return Response(
            answer=run.answer,
            config=run.config,
            stages=timer.finish(),
            num_crops=run.num_crops,
            input_tokens=run.input_tokens,
            output_tokens=run.output_tokens,
            flops=request.flops,
            memory_bytes=self.memory_bytes(run.num_crops, run.input_tokens, run.config.top_k),
            network_decided=run.network_decided,
        )

    @torch.inference_mode()
    def _run(self, request: _Request) -> _Run:
        request.mark("preprocess")
        stage1 = self._decide_tier(request)
        inputs, features = self._see(request, stage1)
        prefix, cache = self._run_prefix(request, stage1, inputs, features)
        config, knobs = self._decide_decoder(request, stage1, prefix)
        first = self._run_adaptive(request, prefix, knobs, cache)
        tokens = self.decoder.continue_greedily(first, prefix, knobs, cache, self.max_new_tokens)

        num_crops, input_tokens = inputs.pixels.shape[1], inputs.input_ids.shape[1]
        decode = self.costs.decode(input_tokens, self.decode_steps(len(tokens)), knobs)
        return _Run(self.decode_answer(tokens), config, num_crops, input_tokens, len(tokens), decode, stage1.network)

    def _decide_tier(self, request: _Request) -> _Stage1:
        """Stage 1, before vision, from what the controller reads."""
        controller = request.controller
        reads = controller.reads(request.limit)
        overview = self._encode_overview(request) if "overview" in reads else None
        thumbnail = self._thumbnail(request) if "thumbnail" in reads else None
        decision = controller.predict_stage1(
            Stage1Inputs(
                request.limit,
                size=self.request_size(request.image, request.question_ids) if "size" in reads else None,
                question=self.pool_question(request.question_ids) if "question" in reads else None,
                overview=None if overview is None else summarise_overview(overview[0]),
                thumbnail=thumbnail,
            )
        )
        token = controller.budget_token(request.limit.budget_ms)
        stage1 = _Stage1(decision, overview, token, decides_by_network(reads, token))
        request.mark("controller", stage1.cost)
        return stage1

    def _encode_overview(self, request: _Request) -> Tensor:
        """Patch features, [1, 1, patches, feature_dim]."""
        pixels = preprocess_overview(request.image, self.preprocess_config)[None]  # [1, 1, patches, patch_dim]
        request.mark("preprocess")
        patches = self.model.vision_backbone.encode(pixels.to(self.device, self.dtype))
        request.mark("vision", self.costs.tower(1))
        return patches

    def _thumbnail(self, request: _Request) -> Tensor:
        """[1, 3, THUMBNAIL_PX, THUMBNAIL_PX], from 0 to 1."""
        thumbnail = make_thumbnail(request.image)[None].to(self.device)
        request.mark("preprocess")
        return thumbnail / 255

    def _see(self, request: _Request, stage1: _Stage1) -> tuple[ModelInputs, Tensor]:
        """The inputs on the device at the chosen tier, and the image features, [1, crops, tokens_per_crop, d_model]."""
        inputs = self._build_inputs(request.image, request.question_ids, stage1.decision.tier)
        if self.device.type == "cuda":
            inputs = inputs.pin_memory()
        request.mark("preprocess")
        inputs = inputs.to(self.device, self.dtype)
        features, cost = self._encode_crops(inputs, stage1.overview)
        request.mark("vision", cost)
        return inputs, features

    def _encode_crops(self, inputs: ModelInputs, overview: Tensor | None) -> tuple[Tensor, Cost]:
        """Image features and what they cost, without the overview crop's tower where that has run already."""
        backbone, costs, num_crops = self.model.vision_backbone, self.costs, inputs.pixels.shape[1]
        if overview is None or not self.reuse_overview:
            return backbone(inputs.pixels, inputs.masks), costs.vision(num_crops)
        others = backbone.encode(inputs.pixels[:, 1:])  # [1, crops - 1, patches, feature_dim]
        features = backbone.connect(torch.cat([overview, others], dim=1), inputs.masks)
        return features, costs.tower(num_crops - 1) + costs.connector(num_crops)

    def _run_prefix(
        self, request: _Request, stage1: _Stage1, inputs: ModelInputs, features: Tensor
    ) -> tuple[PrefixState, KVCache]:
        """The prompt, and the budget token behind it, through the blocks that always run."""
        prompt = self.model.embed(inputs.input_ids, features, inputs.image_input_idx)  # [1, tokens, d_model]
        num_tokens = prompt.shape[1] + (stage1.budget_token is not None)
        cache = self.decoder.new_cache(max(num_tokens, prompt.shape[1] + self.max_new_tokens))
        prefix = self.model.run_prefix(prompt, cache=cache, budget_token=stage1.budget_token)
        request.mark("prefill", self.costs.prefix(num_tokens))
        return prefix, cache

    def _decide_decoder(
        self, request: _Request, stage1: _Stage1, prefix: PrefixState
    ) -> tuple[KnobConfig, DecoderKnobs]:
        """Stage 2: top_k and blocks, from the budget token's state where they are not settled yet."""
        decision = stage1.decision
        top_k, num_blocks = request.controller.predict_stage2(request.limit.budget_ms, decision, prefix.budget_state)
        config = KnobConfig(decision.tier, top_k, num_blocks)
        knobs = self.decoder_knobs(config)
        request.mark("controller", stage1.cost)
        return config, knobs

    def _run_adaptive(self, request: _Request, prefix: PrefixState, knobs: DecoderKnobs, cache: KVCache) -> Tensor:
        """The prompt through the active blocks behind the prefix: the answer's first token, [1]."""
        first = self.model.next_token_logits(prefix, knobs, cache).argmax(dim=-1)
        request.mark("prefill", self.costs.adaptive(prefix.hidden.shape[1], knobs))
        return first

    def pool_question(self, question_ids: list[int]) -> Tensor:
        """The mean embedding of the prompt's tokens, [1, d_model], float32; special tokens in it do not count."""
        vocabulary = self.model.transformer["wte"].embedding
        ids = torch.tensor([token for token in question_ids if token < len(vocabulary)], device=self.device)
        return vocabulary[ids].float().mean(dim=0, keepdim=True)

    def decode_steps(self, output_tokens: int) -> int:
        """Forward passes after the prompt's: the prompt gives the first token, the end token takes a pass as well."""
        return min(output_tokens, self.max_new_tokens - 1)

    def _largest_request_bytes(self) -> int:
        """Estimated peak memory of the largest tier's largest request."""
        num_crops = 1 + max(crop_range.max_crops for crop_range in self.tiers.values())
        num_tokens, top_k = num_crops * self.model.config.tokens_per_crop, self.model.config.top_k
        return self.costs.memory_bytes(num_crops, num_tokens, self.max_new_tokens, top_k)

    def memory_bytes(self, num_crops: int, input_tokens: int, top_k: int) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        return self.costs.memory_bytes(num_crops, input_tokens, self.max_new_tokens, top_k)
