"""One request: image, question and limit in; answer, chosen knobs and stage times out.

Evaluation, the timed pass of the profile, lmms-eval and the command line all answer through `Engine.answer`. A request
passes these stages, in which the controller decides twice:

    image, question, limit -> stage 1: the tier -> vision -> fixed prefix -> stage 2: top_k and blocks
        -> the active blocks behind the prefix -> decoding -> answer
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adamolmo.backend.cost import Cost
from adamolmo.backend.interface import Backend, Overview, Picture, Prefix, Prompt
from adamolmo.backend.loading import load_backend, weight_bytes
from adamolmo.backend.prepared import MANIFEST
from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import read_json
from adamolmo.files.model import Manifest
from adamolmo.inference.clock import Clock, StageTimer, StageTimes
from adamolmo.inference.consulting import budget_token, first_decision, second_decision, what_it_reads
from adamolmo.inference.controller import (
    Controller,
    Decision,
    Limit,
    RequestSize,
    Stage1Inputs,
    decides_by_network,
)
from adamolmo.inference.device import describe_device
from adamolmo.inference.energy import EnergyCounter
from adamolmo.inference.gpu_memory import explain_out_of_memory
from adamolmo.inference.ranking import load_ranking
from adamolmo.inference.readings import make_thumbnail, summarise_overview
from adamolmo.knobs import BlockRanking, DecoderKnobs, KnobConfig

# What the modelled clock books for one decision: a table is read, or two small networks run.
_TABLE_DECISION = Cost(launches=1)
_NETWORK_DECISION = Cost(launches=20)
_ON_THE_HOST = Cost()  # preprocessing has no modelled time


@dataclass(frozen=True)
class Response:
    """An answered request.

    Attributes:
        stages: the latency is `stages.total_ms`.
        num_crops: image crops, the overview included.
        input_tokens: length of the prompt with the image's tokens.
        output_tokens: length of the answer without the end token.
        flops: of all stages, without the controller's.
        memory_bytes: peak memory; measured on a GPU, estimated on the CPU.
        network_decided: whether the controller asked a network rather than a table (`decides_by_network`).
        energy_j: what the device used meanwhile, preprocessing included; None without an energy counter.
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
    energy_j: float | None


@dataclass
class _Request:
    """A request on its way: what is asked, who chooses the knobs, and where its time and its work are booked."""

    image: Picture
    question: Any  # as the backend has read it
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
        overview: the image at its cheapest, if the controller had it encoded.
        budget_token: [1, d_model], if the controller decides again after the fixed prefix.
        network: whether a network decides.
    """

    decision: Decision
    overview: Overview | None
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
        clock: what a millisecond is.
        energy: read around every request, outside of its time; None: requests have no energy.

    Attributes:
        reuse_overview: False sees the overview again although a controller has had it encoded; only for measuring what
            the reuse saves.
    """

    reuse_overview = True

    def __init__(
        self,
        backend: Backend,
        ranking: BlockRanking,
        clock: Clock,
        max_new_tokens: int,
        energy: EnergyCounter | None = None,
    ):
        self.backend = backend
        self.ranking = ranking
        self.clock = clock
        self.max_new_tokens = max_new_tokens
        self.energy = energy

    @classmethod
    def load(
        cls,
        model_dir: Path,
        importance_path: Path | None,
        *,
        configs: Iterable[KnobConfig],
        tiers: Mapping[str, Mapping[str, Any]],
        clock: Clock,
        max_new_tokens: int,
        fixed_prefix_layers: int = 3,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        energy: EnergyCounter | None = None,
    ) -> "Engine":
        """The engine of a prepared model directory (with `manifest.json` beside the checkpoint).

        Args:
            importance_path: which blocks stay active; without importance scores (None) only all blocks can run.
            configs: what requests will run with; the decoder is made ready for them.
            tiers: what the backend takes for each vision tier, by name, cheapest first.

        Raises AdaMolmoError when a file is missing, unusable, or the scores belong to another model.
        """
        with explain_out_of_memory(lambda: (str(model_dir), weight_bytes(model_dir))):
            backend = load_backend(
                model_dir, tiers=tiers, fixed_prefix_layers=fixed_prefix_layers, dtype=dtype, device=device
            )
            ranking = BlockRanking(backend.sizes.num_layers, ())
            if importance_path is not None:
                checksum = read_json(model_dir / MANIFEST, Manifest).checksum
                ranking = load_ranking(importance_path, checksum, backend.sizes.num_layers)
            engine = cls(backend, ranking, clock, max_new_tokens, energy)
            engine.prepare_decoder(configs)
        return engine

    def prepare_decoder(self, configs: Iterable[KnobConfig]) -> None:
        """Makes decoding ready for those of the configurations that the ranking has an answer for.

        On a GPU a configuration's first use records a CUDA graph, which no request's latency should contain.
        """
        for config in configs:
            if config.num_active_blocks in self.ranking.counts:
                self.backend.prepare_decoder(self.decoder_knobs(config))

    @property
    def device(self) -> dict:
        """What its latencies belong to, see `describe_device`."""
        return describe_device(self.backend.device.type, self.clock.name, self.backend.decoding_on_gpu)

    @property
    def room(self) -> int:
        """Tokens that a prompt may have beside the longest answer."""
        return self.backend.prompt_room(self.max_new_tokens)

    def known_tier(self, tier: str) -> str:
        """Itself. Raises AdaMolmoError for one that does not exist."""
        if tier not in self.backend.tiers:
            raise AdaMolmoError(f"tier is '{tier}'; expected one of {', '.join(self.backend.tiers)}.")
        return tier

    def decoder_knobs(self, config: KnobConfig) -> DecoderKnobs:
        """Raises AdaMolmoError for a top_k or a number of blocks that this model cannot run with."""
        num_experts = self.backend.sizes.num_experts
        if not 1 <= config.top_k <= num_experts:
            raise AdaMolmoError(f"top_k is {config.top_k}; this model has {num_experts} experts, expected 1 to that.")
        return self.ranking.decoder_knobs(config)

    def prepare(self, image: Picture, question: str, style: str | None, tier: str) -> Prompt:
        """The prompt of one request, still on the host."""
        return self._prompt(image, self.backend.read_question(question, style), tier)

    def _prompt(self, image: Picture, question: Any, tier: str) -> Prompt:
        return self.backend.prepare(image, [question], self.known_tier(tier), self.room)[0]

    def request_size(self, image: Picture, question: Any) -> RequestSize:
        """At every tier, from the image's size alone.

        Args:
            question: as the backend has read it.
        """
        sizes = (self.backend.prompt_size(image, question, tier) for tier in self.backend.tiers)
        num_crops, input_tokens = zip(*sizes, strict=True)
        return RequestSize(num_crops, input_tokens)

    def answer(
        self, image: Picture, question: str, style: str | None, controller: Controller, limit: Limit
    ) -> Response:
        """Answers one request with the knobs that the controller chooses on the way.

        Args:
            style: the prompt's style, for example "text_vqa"; None for none.

        Raises AdaMolmoError when the controller chooses a tier, top_k or number of blocks that does not exist, the
        prompt leaves the model no room for an answer, or the GPU's memory does not suffice.
        """
        if self.backend.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        before = None if self.energy is None else self.energy.read()
        with explain_out_of_memory(lambda: (controller.name, self._largest_request_bytes())):
            timer = self.clock.start()
            request = _Request(image, self.backend.read_question(question, style), controller, limit, timer)
            run = self._run(request)
        request.mark("decode", run.decode)  # its tensors' memory is free again by now: that took time, too
        stages = timer.finish()
        energy_j = None if before is None else self.energy.joules_since(before)
        return Response(
            answer=run.answer,
            config=run.config,
            stages=stages,
            num_crops=run.num_crops,
            input_tokens=run.input_tokens,
            output_tokens=run.output_tokens,
            flops=request.flops,
            memory_bytes=self.memory_bytes(run.num_crops, run.input_tokens, run.config.top_k),
            network_decided=run.network_decided,
            energy_j=energy_j,
        )

    @torch.inference_mode()
    def _run(self, request: _Request) -> _Run:
        request.mark("preprocess")
        stage1 = self._decide_tier(request)
        prompt, seen = self._see(request, stage1)
        prefix, cache = self._run_prefix(request, stage1, prompt, seen)
        config, knobs = self._decide_decoder(request, stage1, prefix)
        first = self._run_adaptive(request, prefix, knobs, cache)
        tokens = self.backend.continue_greedily(first, prefix, knobs, cache, self.max_new_tokens)

        decode = self.backend.costs.decode(prompt.num_tokens, self.decode_steps(len(tokens)), knobs)
        answer = self.backend.decode_answer(tokens)
        return _Run(answer, config, prompt.num_crops, prompt.num_tokens, len(tokens), decode, stage1.network)

    def _decide_tier(self, request: _Request) -> _Stage1:
        """Stage 1, before vision, from what the controller reads."""
        controller = request.controller
        reads = what_it_reads(controller, request.limit)
        overview = self._encode_overview(request) if "overview" in reads else None
        thumbnail = self._thumbnail(request) if "thumbnail" in reads else None
        decision = first_decision(
            controller,
            Stage1Inputs(
                request.limit,
                size=self.request_size(request.image, request.question) if "size" in reads else None,
                question=self.backend.pool_question(request.question) if "question" in reads else None,
                overview=None if overview is None else summarise_overview(overview.features[0])[None],
                thumbnail=thumbnail,
            ),
        )
        model = self.backend
        token = budget_token(controller, request.limit.budget_ms, model.sizes.d_model, model.dtype, model.device)
        stage1 = _Stage1(decision, overview, token, decides_by_network(reads, token))
        request.mark("controller", stage1.cost)
        return stage1

    def _encode_overview(self, request: _Request) -> Overview:
        loaded = self.backend.load_overview(request.image)
        request.mark("preprocess")
        overview = self.backend.encode_overviews([loaded])
        request.mark("vision", overview.cost)
        return overview

    def _thumbnail(self, request: _Request) -> Tensor:
        """[1, 3, THUMBNAIL_PX, THUMBNAIL_PX], from 0 to 1."""
        thumbnail = make_thumbnail(request.image)[None].to(self.backend.device)
        request.mark("preprocess")
        return thumbnail / 255

    def _see(self, request: _Request, stage1: _Stage1) -> tuple[Prompt, Any]:
        """The prompt on the device at the chosen tier, and what vision makes of its image."""
        prompt = self._prompt(request.image, request.question, stage1.decision.tier)
        if self.backend.device.type == "cuda":
            prompt = prompt.pin_memory()
        request.mark("preprocess")
        prompt = self.backend.to_device(prompt)
        reusable = stage1.overview.reusable if stage1.overview is not None and self.reuse_overview else None
        seen, cost = self.backend.see(prompt, reusable)
        request.mark("vision", cost)
        return prompt, seen

    def _run_prefix(self, request: _Request, stage1: _Stage1, prompt: Prompt, seen: Any) -> tuple[Prefix, Any]:
        """The prompt, and the budget token behind it, through the blocks that always run; with the cache."""
        num_tokens = prompt.num_tokens + (stage1.budget_token is not None)
        cache = self.backend.new_cache(max(num_tokens, prompt.num_tokens + self.max_new_tokens))
        prefix = self.backend.run_prefix(prompt, seen, cache, stage1.budget_token)
        request.mark("prefill", self.backend.costs.prefix(num_tokens))
        return prefix, cache

    def _decide_decoder(self, request: _Request, stage1: _Stage1, prefix: Prefix) -> tuple[KnobConfig, DecoderKnobs]:
        """Stage 2: top_k and blocks, from the budget token's state where they are not settled yet."""
        decision = stage1.decision
        budget_ms = request.limit.budget_ms
        top_k, num_blocks = second_decision(request.controller, budget_ms, decision, prefix.budget_state)
        config = KnobConfig(decision.tier, top_k, num_blocks)
        knobs = self.decoder_knobs(config)
        request.mark("controller", stage1.cost)
        return config, knobs

    def _run_adaptive(self, request: _Request, prefix: Prefix, knobs: DecoderKnobs, cache: Any) -> Tensor:
        """The prompt through the active blocks behind the prefix: the answer's first token, [1]."""
        first = self.backend.first_token(prefix, knobs, cache)
        request.mark("prefill", self.backend.costs.adaptive(prefix.num_tokens, knobs))
        return first

    def decode_steps(self, output_tokens: int) -> int:
        """Forward passes after the prompt's: the prompt gives the first token, the end token takes a pass as well."""
        return min(output_tokens, self.max_new_tokens - 1)

    def _largest_request_bytes(self) -> int:
        """Estimated peak memory of the dearest tier's largest request."""
        num_crops, num_tokens = self.backend.largest_prompt(self.backend.read_question("", None))
        return self._estimated_bytes(num_crops, num_tokens, self.backend.sizes.top_k)

    def memory_bytes(self, num_crops: int, input_tokens: int, top_k: int) -> int:
        """Peak memory of the request: measured on a GPU, estimated on the CPU."""
        if self.backend.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        return self._estimated_bytes(num_crops, input_tokens, top_k)

    def _estimated_bytes(self, num_crops: int, num_tokens: int, top_k: int) -> int:
        return self.backend.costs.memory_bytes(num_crops, num_tokens, self.max_new_tokens, top_k)
