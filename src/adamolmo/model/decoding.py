"""Greedy decoding of one request at a time: eagerly on a CPU, by replaying recorded CUDA graphs on a GPU.

A token costs some 260 kernel launches; issued one by one by Python they take several times as long as the kernels
themselves. So the pass of one token is recorded once per setting of the decoder's knobs, over static buffers (the
token, its position and the key-value cache), and then replayed with a single call.

After each pass the host waits for the token, to see the end token. The wait leaves the GPU idle for some 20 us; passes
issued ahead of the check would be wasted after the end token, and a single one costs as much as the waits of a long
answer. Answers here are a few tokens long.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from adamolmo.errors import AdaMolmoError
from adamolmo.knobs import DecoderKnobs
from adamolmo.model.decoder import KVCache
from adamolmo.model.molmoe import MolmoE, PrefixState, continue_greedily

_MAX_GRAPHS = 64  # a study uses 25; each holds some MB on the host and the device


class GreedyDecoder(Protocol):
    """What the engine decodes with. One request is decoded at a time."""

    def prepare(self, knobs: DecoderKnobs) -> bool:
        """Makes these knobs ready; True if that took work which no request's latency should contain."""

    def new_cache(self, num_positions: int) -> KVCache:
        """The cache of the next request, which ends the one before."""

    def continue_greedily(self, first: Tensor, prefix: PrefixState, knobs: DecoderKnobs, cache: KVCache) -> list[int]:
        """The answer's tokens without the end token, given the first one, [1], and a cache that holds the prompt."""


class EagerDecoder:
    """Decodes operation by operation; the cache is as long as the request needs."""

    def __init__(self, model: MolmoE, max_new_tokens: int, eos_id: int | None):
        self._model, self._max_new_tokens, self._eos_id = model, max_new_tokens, eos_id

    def prepare(self, knobs: DecoderKnobs) -> bool:
        return False

    def new_cache(self, num_positions: int) -> KVCache:
        return self._model.new_cache(1, num_positions)

    def continue_greedily(self, first: Tensor, prefix: PrefixState, knobs: DecoderKnobs, cache: KVCache) -> list[int]:
        return continue_greedily(self._model, first, prefix, knobs, cache, self._max_new_tokens, self._eos_id)[0]


class GraphDecoder:
    """Decodes by replay. Graphs share their memory; of more than `_MAX_GRAPHS` the least recently used is dropped.

    One cache of the model's `max_positions` serves all requests: what an earlier one left behind its own end is never
    read. On a CPU, which has no graphs, the same passes run eagerly over the same buffers (for tests).
    """

    def __init__(self, model: MolmoE, max_new_tokens: int, eos_id: int | None):
        self._model, self._max_new_tokens, self._eos_id = model, max_new_tokens, eos_id
        self._device = model.lm_head.weight.device
        self._token, self._position = torch.zeros(2, 1, dtype=torch.int64, device=self._device)
        self._cache: KVCache | None = None
        self._passes: OrderedDict[DecoderKnobs, Callable[[], None]] = OrderedDict()
        if self._device.type == "cuda":
            self._pool, self._stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()

    @torch.inference_mode()
    def prepare(self, knobs: DecoderKnobs) -> bool:
        if knobs in self._passes:
            self._passes.move_to_end(knobs)
            return False
        if self._device.type == "cuda":
            self._passes[knobs] = self._record(knobs)
        else:
            self._passes[knobs] = lambda: self._pass(knobs)
        if len(self._passes) > _MAX_GRAPHS:
            self._passes.popitem(last=False)
        return True

    def new_cache(self, num_positions: int) -> KVCache:
        """Raises AdaMolmoError for more positions than the model has."""
        limit = self._model.config.max_positions
        if num_positions > limit:
            raise AdaMolmoError(f"the request needs {num_positions} positions; this model has {limit}.")
        return self._static_cache()

    @torch.inference_mode()
    def continue_greedily(self, first: Tensor, prefix: PrefixState, knobs: DecoderKnobs, cache: KVCache) -> list[int]:
        self.prepare(knobs)
        run_pass = self._passes[knobs]
        self._token.copy_(first)
        self._position.copy_(prefix.lengths)
        tokens = [self._token.item()]
        while tokens[-1] != self._eos_id and len(tokens) < self._max_new_tokens:
            run_pass()
            tokens.append(self._token.item())
        return tokens[:-1] if tokens[-1] == self._eos_id else tokens

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


def greedy_decoder(model: MolmoE, max_new_tokens: int, eos_id: int | None) -> GreedyDecoder:
    """The decoder for the model's device."""
    kind = GraphDecoder if model.lm_head.weight.is_cuda else EagerDecoder
    return kind(model, max_new_tokens, eos_id)
