"""Greedy decoding of one request at a time: eagerly on a CPU, by replaying recorded CUDA graphs on a GPU.

A token costs some 260 kernel launches; issued one by one by Python they take several times as long as the kernels
themselves. So the pass of one token is recorded once per setting of the decoder's knobs, over static buffers (the
token, its position and the key-value cache), and then replayed with a single call.

After each pass the host waits for the token, to see the end token. The wait leaves the GPU idle for some 20 us; passes
issued ahead of the check would be wasted after the end token, and a single one costs as much as the waits of a long
answer. Answers here are a few tokens long.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from adamolmo.errors import AdaMolmoError
from adamolmo.knobs import DecoderKnobs
from adamolmo.model.decode_on_cpu import TokenPass
from adamolmo.model.decoder import KVCache
from adamolmo.model.molmoe import MolmoE, PrefixState


class GreedyDecoder(Protocol):
    """What the engine decodes with. One request is decoded at a time."""

    def prepare(self, knobs: DecoderKnobs) -> None:
        """Does beforehand what the first request with these knobs would have to wait for."""

    def new_cache(self, num_positions: int) -> KVCache:
        """The cache of the next request, which ends the one before."""

    def continue_greedily(
        self, first: Tensor, prefix: PrefixState, knobs: DecoderKnobs, cache: KVCache, max_new_tokens: int
    ) -> list[int]:
        """The answer's tokens without the end token.

        Args:
            first: the first of them, [1].
            cache: holds the prompt, and has room for `max_new_tokens` more.
        """


class EagerDecoder:
    """Decodes operation by operation; the cache is as long as the request needs."""

    def __init__(self, model: MolmoE, eos_id: int | None):
        self._model, self._eos_id = model, eos_id
        weight = model.lm_head.weight
        on_cpu = weight.device.type == "cpu" and weight.dtype == torch.float32
        self._token_pass = TokenPass(model) if on_cpu else None

    def prepare(self, knobs: DecoderKnobs) -> None:
        """There is nothing to prepare."""

    def new_cache(self, num_positions: int) -> KVCache:
        return self._model.new_cache(1, num_positions)

    @torch.inference_mode()
    def continue_greedily(
        self, first: Tensor, prefix: PrefixState, knobs: DecoderKnobs, cache: KVCache, max_new_tokens: int
    ) -> list[int]:
        position = prefix.lengths.item()

        def next_token(token: int) -> int:
            nonlocal position
            logits = self._logits(token, position, knobs, cache)
            position += 1
            return logits.argmax().item()

        return _until_end(first.item(), next_token, self._eos_id, max_new_tokens)

    def _logits(self, token: int, position: int, knobs: DecoderKnobs, cache: KVCache) -> Tensor:
        """[embedding_size]."""
        if self._token_pass is not None:
            return self._token_pass(token, position, knobs, cache)
        return self._model.decode(torch.tensor([token]), torch.tensor([position]), knobs, cache, position + 1)[0]


class GraphDecoder:
    """Decodes by replaying graphs, one per setting of the knobs, which share their memory.

    One cache of the model's `max_positions` serves all requests: what an earlier one left behind its own end is never
    read. On a CPU, which has no graphs, the same passes run eagerly over the same buffers (for tests).
    """

    def __init__(self, model: MolmoE, eos_id: int | None):
        self._model, self._eos_id = model, eos_id
        self._device = model.lm_head.weight.device
        self._token, self._position = torch.zeros(2, 1, dtype=torch.int64, device=self._device)
        self._cache: KVCache | None = None
        self._passes: dict[DecoderKnobs, Callable[[], None]] = {}
        if self._device.type == "cuda":
            self._pool, self._stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()

    @torch.inference_mode()
    def prepare(self, knobs: DecoderKnobs) -> None:
        if knobs not in self._passes:
            on_gpu = self._device.type == "cuda"
            self._passes[knobs] = self._record(knobs) if on_gpu else lambda: self._pass(knobs)

    def new_cache(self, num_positions: int) -> KVCache:
        """Raises AdaMolmoError for more positions than the model has."""
        limit = self._model.config.max_positions
        if num_positions > limit:
            raise AdaMolmoError(f"the request needs {num_positions} positions; this model has {limit}.")
        return self._static_cache()

    @torch.inference_mode()
    def continue_greedily(
        self, first: Tensor, prefix: PrefixState, knobs: DecoderKnobs, cache: KVCache, max_new_tokens: int
    ) -> list[int]:
        self.prepare(knobs)
        run_pass = self._passes[knobs]
        self._token.copy_(first)
        self._position.copy_(prefix.lengths)

        def next_token(_: int) -> int:
            run_pass()
            return self._token.item()

        return _until_end(self._token.item(), next_token, self._eos_id, max_new_tokens)

    def _static_cache(self) -> KVCache:
        if self._cache is None:
            self._cache = self._model.new_cache(1, self._model.config.max_positions)
        return self._cache

    def _pass(self, knobs: DecoderKnobs) -> None:
        """One token through the model: buffers in, buffers out."""
        cache = self._static_cache()
        logits = self._model.decode(self._token, self._position, knobs, cache, self._model.config.max_positions)
        self._token.copy_(logits.argmax(dim=-1))
        self._position.add_(1)

    def _record(self, knobs: DecoderKnobs) -> Callable[[], None]:
        """Records the pass as a CUDA graph, after one real run that compiles kernels and sets up libraries.

        That run writes to the cache's last slot, which a request fills itself before it reads it. `torch.cuda.graph`
        would also give the allocator's spare memory back, and the next request would pay for getting it again.
        """
        self._token.zero_()
        self._position.fill_(self._model.config.max_positions - 1)
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.stream(self._stream):
            self._pass(knobs)
            torch.cuda.synchronize()
            graph.capture_begin(pool=self._pool)
            try:
                self._pass(knobs)
            finally:
                graph.capture_end()
        return graph.replay


def _until_end(first: int, next_token: Callable[[int], int], eos_id: int | None, max_new_tokens: int) -> list[int]:
    """Tokens up to the end token, which is left out, or to the longest answer."""
    tokens = [first]
    while tokens[-1] != eos_id and len(tokens) < max_new_tokens:
        tokens.append(next_token(tokens[-1]))
    return tokens[:-1] if tokens[-1] == eos_id else tokens


def greedy_decoder(model: MolmoE, eos_id: int | None) -> GreedyDecoder:
    """The decoder for the model's device."""
    return GraphDecoder(model, eos_id) if model.lm_head.weight.is_cuda else EagerDecoder(model, eos_id)
