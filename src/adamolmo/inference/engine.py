"""One request: image, question and budget in; answer, chosen knobs and stage times out.

Evaluation, the timed pass of the profile, lmms-eval and the command line all answer through `Engine.answer`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from adamolmo.controllers.base import Controller, Decision, Limit, RequestSize, Stage1Inputs
from adamolmo.errors import AdaMolmoError
from adamolmo.inference.gpu_memory import explain_out_of_memory
from adamolmo.inference.latency import Clock, StageTimer, StageTimes
from adamolmo.inference.ranking import load_ranking
from adamolmo.inference.readings import make_thumbnail, summarise_overview
from adamolmo.knobs import BlockRanking, CropRange, DecoderKnobs, KnobConfig
from adamolmo.model.checkpoint import check_prepared, load_model
from adamolmo.model.config import MolmoEConfig
from adamolmo.model.cost import Cost, CostModel
from adamolmo.model.decoding import greedy_decoder
from adamolmo.model.inputs import ModelInputs, build_inputs
from adamolmo.model.molmoe import MolmoE
from adamolmo.model.preprocess import PreprocessConfig, image_size, preprocess, preprocess_overview, upright_size
from adamolmo.model.tokenizer import Tokenizer, format_prompt

# What the modelled clock books for one decision: a table is read, or two small networks run.
_TABLE_DECISION = Cost(launches=1)
_NETWORK_DECISION = Cost(launches=20)


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
    """

    answer: str
    config: KnobConfig
    stages: StageTimes
    num_crops: int
    input_tokens: int
    output_tokens: int
    flops: float
    memory_bytes: int

    @property
    def preprocess_ms(self) -> float:
        return self.stages.preprocess_ms


@dataclass(frozen=True)
class _Run:
    """What a request leaves behind once its tensors are gone; costs are those of its stages."""

    answer: str
    config: KnobConfig
    num_crops: int
    input_tokens: int
    output_tokens: int
    before_decode: Cost
    decode: Cost


@dataclass(frozen=True)
class _Stage1:
    """What the decision before vision leaves for the rest of the request.

    Attributes:
        overview: patch features of the overview crop, [1, 1, patches, feature_dim], if the controller had it encoded.
        budget_token: [1, d_model], if the controller decides again after the fixed prefix.
        cost: of one decision of this controller.
    """

    decision: Decision
    overview: Tensor | None
    budget_token: Tensor | None
    cost: Cost


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
        self.decoder = greedy_decoder(model, max_new_tokens, tokenizer.eos_id)

    @classmethod
    def load(
        cls,
        model_dir: Path,
        importance_path: Path | None,
        *,
        tiers: Mapping[str, CropRange],
        clock: Clock,
        max_new_tokens: int,
        fixed_prefix_layers: int = 3,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> "Engine":
        """The engine of a prepared model directory (with `manifest.json` beside the checkpoint).

        Without importance scores (None) only the full number of blocks can run.
        Raises AdaMolmoError when a file is missing, unusable, or the scores belong to another model.
        """
        check_prepared(Path(model_dir))
        model_config = MolmoEConfig.load(Path(model_dir) / "config.json", fixed_prefix_layers)
        costs = CostModel(model_config, dtype.itemsize)
        with explain_out_of_memory(lambda: (str(model_dir), costs.num_weights() * dtype.itemsize)):
            model = load_model(model_dir, fixed_prefix_layers, dtype, device)
        num_blocks = model.config.num_layers
        ranking = BlockRanking(num_blocks, ())
        if importance_path is not None:
            ranking = load_ranking(importance_path, model_checksum(model_dir), num_blocks)
        return cls(model, Tokenizer.load(model_dir), ranking, tiers, clock, max_new_tokens)

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

    def prepare(self, image: Image.Image | np.ndarray, question: str, style: str | None, tier: str) -> ModelInputs:
        """The model's inputs for one request, batch 1, still on the host."""
        return self._build_inputs(image, self.question_ids(question, style), tier)

    def _build_inputs(self, image: Image.Image | np.ndarray, question_ids: list[int], tier: str) -> ModelInputs:
        crop_range = self.crop_range(tier)
        crops = preprocess(image, crop_range.min_crops, crop_range.max_crops, self.preprocess_config)
        return build_inputs(question_ids, crops, self.preprocess_config, self.tokenizer.specials)

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
        self,
        image: Image.Image | np.ndarray,
        question: str,
        style: str | None,
        controller: Controller,
        budget_ms: float,
    ) -> Response:
        """Answers one request with the knobs that the controller chooses on the way.

        Args:
            image: PIL image, or uint8 [height, width, 3].
            style: the prompt's style, for example "text_vqa"; None for none.

        Raises AdaMolmoError when the controller chooses a tier, top_k or number of blocks that does not exist, or the
        GPU's memory does not suffice.
        """
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        run = None
        with explain_out_of_memory(lambda: (controller.name, self._largest_request_bytes())):
            while run is None:
                timer = self.clock.start()
                run = self._run(timer, image, question, style, controller, budget_ms)
        timer.mark("decode", run.decode)  # the request's memory is free again by now: that took time, too
        return Response(
            answer=run.answer,
            config=run.config,
            stages=timer.finish(),
            num_crops=run.num_crops,
            input_tokens=run.input_tokens,
            output_tokens=run.output_tokens,
            flops=(run.before_decode + run.decode).flops,
            memory_bytes=self.memory_bytes(run.num_crops, run.input_tokens, run.config.top_k),
        )

    @torch.inference_mode()
    def _run(
        self,
        timer: StageTimer,
        image: Image.Image | np.ndarray,
        question: str,
        style: str | None,
        controller: Controller,
        budget_ms: float,
    ) -> _Run | None:
        """All stages; only the last one is not marked yet. None when the decoder was made ready for new knobs, which
        happens once and for all: the request is to start over without it."""
        model, costs = self.model, self.costs
        question_ids = self.question_ids(question, style)
        timer.mark("preprocess", Cost())
        stage1 = self._decide_before_vision(timer, image, question_ids, controller, budget_ms)
        inputs, features, vision = self._see(timer, image, question_ids, stage1)
        num_crops, input_tokens = inputs.pixels.shape[1], inputs.input_ids.shape[1]

        prompt = model.embed(inputs.input_ids, features, inputs.image_input_idx)
        prefix_tokens = input_tokens + (stage1.budget_token is not None)
        cache = self.decoder.new_cache(max(prefix_tokens, input_tokens + self.max_new_tokens))
        prefix = model.run_prefix(prompt, cache=cache, budget_token=stage1.budget_token)
        prefill = costs.prefix(prefix_tokens)
        timer.mark("prefill", prefill)

        top_k, num_active_blocks = controller.predict_stage2(budget_ms, stage1.decision, prefix.budget_state)
        config = KnobConfig(stage1.decision.tier, top_k, num_active_blocks)
        knobs = self.decoder_knobs(config)
        if self.decoder.prepare(knobs):
            return None
        timer.mark("controller", stage1.cost)

        first = model.next_token_logits(prefix, knobs, cache).argmax(dim=-1)
        adaptive = costs.adaptive(input_tokens, knobs)
        timer.mark("prefill", adaptive)

        tokens = self.decoder.continue_greedily(first, prefix, knobs, cache)
        return _Run(
            answer=self.decode_answer(tokens),
            config=config,
            num_crops=num_crops,
            input_tokens=input_tokens,
            output_tokens=len(tokens),
            before_decode=vision + prefill + adaptive,
            decode=costs.decode(input_tokens, self.decode_steps(len(tokens)), knobs),
        )

    def _decide_before_vision(
        self,
        timer: StageTimer,
        image: Image.Image | np.ndarray,
        question_ids: list[int],
        controller: Controller,
        budget_ms: float,
    ) -> _Stage1:
        reads = controller.reads(budget_ms)
        overview = self._encode_overview(image, timer) if "overview" in reads else None
        thumbnail = self._thumbnail(image, timer) if "thumbnail" in reads else None
        decision = controller.predict_stage1(
            Stage1Inputs(
                Limit(budget_ms),
                size=self.request_size(image, question_ids) if "size" in reads else None,
                question=self.pool_question(question_ids) if "question" in reads else None,
                overview=None if overview is None else summarise_overview(overview[0]),
                thumbnail=thumbnail,
            )
        )
        budget_token = controller.budget_token(budget_ms)
        cost = _NETWORK_DECISION if reads - {"size"} or budget_token is not None else _TABLE_DECISION
        timer.mark("controller", cost)
        return _Stage1(decision, overview, budget_token, cost)

    def _see(
        self, timer: StageTimer, image: Image.Image | np.ndarray, question_ids: list[int], stage1: _Stage1
    ) -> tuple[ModelInputs, Tensor, Cost]:
        """The inputs on the device, the image features, and what vision has cost, the overview crop included."""
        inputs = self._build_inputs(image, question_ids, stage1.decision.tier)
        if self.device.type == "cuda":
            inputs = inputs.pin_memory()
        timer.mark("preprocess", Cost())
        inputs = inputs.to(self.device, self.dtype)
        features, cost = self._encode_crops(inputs, stage1.overview)
        timer.mark("vision", cost)
        return inputs, features, cost if stage1.overview is None else self.costs.tower(1) + cost

    def _encode_overview(self, image: Image.Image | np.ndarray, timer: StageTimer) -> Tensor:
        """Patch features, [1, 1, patches, feature_dim]."""
        pixels = preprocess_overview(image, self.preprocess_config)[None]
        timer.mark("preprocess", Cost())
        patches = self.model.vision_backbone.encode(pixels.to(self.device, self.dtype))
        timer.mark("vision", self.costs.tower(1))
        return patches

    def _encode_crops(self, inputs: ModelInputs, overview: Tensor | None) -> tuple[Tensor, Cost]:
        """Image features and what they cost, without the overview crop's tower where that has run already."""
        backbone, costs, num_crops = self.model.vision_backbone, self.costs, inputs.pixels.shape[1]
        if overview is None or not self.reuse_overview:
            return backbone(inputs.pixels, inputs.masks), costs.vision(num_crops)
        patches = torch.cat([overview, backbone.encode(inputs.pixels[:, 1:])], dim=1)
        return backbone.connect(patches, inputs.masks), costs.tower(num_crops - 1) + costs.connector(num_crops)

    def _thumbnail(self, image: Image.Image | np.ndarray, timer: StageTimer) -> Tensor:
        thumbnail = make_thumbnail(image)[None].to(self.device)
        timer.mark("preprocess", Cost())
        return thumbnail / 255

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


def model_checksum(model_dir: Path) -> str:
    """Checksum of a prepared model directory. Raises AdaMolmoError when it has no usable `manifest.json`."""
    path = Path(model_dir) / "manifest.json"
    try:
        return json.loads(path.read_text())["checksum"]
    except (OSError, ValueError, KeyError) as error:
        raise AdaMolmoError(f"{path}: no model checksum can be read ({error}); prepare the model first.") from error
