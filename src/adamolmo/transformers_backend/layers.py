"""The decoder's knobs, on the layers of any decoder of transformers: nothing here knows a family.

Each layer's `forward` is wrapped once. Within a pass of `KnobLayers.knobs` a layer that does not run is the identity,
touches no cache, and records what the model's own loop passes to it, so that it can be run later, from outside, with
exactly these arguments. top_k is an attribute of each router, set for the pass and set back behind it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from torch import Tensor, nn

from adamolmo.errors import AdaMolmoError

Call = tuple[tuple, dict[str, Any]]  # arguments of a layer behind the hidden states


@dataclass
class _Pass:
    """One forward pass: who runs it, which layers, and what was recorded of the others' calls."""

    thread: int
    active: frozenset[int]
    recorded: dict[int, Call] = field(default_factory=dict)
    last_hidden: Tensor | None = None


class KnobLayers:
    """The layers of a model with its knobs; wraps them.

    Args:
        model: a ...ForConditionalGeneration.
        fixed_prefix_layers: layers that always run with the model's own top_k.

    Attributes:
        text: the decoder, with `layers` and `norm`.
        top_k: experts per token that the model was built with.
        num_experts: of a layer.
    """

    def __init__(self, model: nn.Module, fixed_prefix_layers: int):
        self.text = model.get_decoder()
        self.head = model.get_output_embeddings()
        self.fixed_prefix_layers = fixed_prefix_layers
        layers = list(self.text.layers)
        routers = [_routers(layer) for layer in layers]
        self._adaptive_routers = list(chain.from_iterable(routers[fixed_prefix_layers:]))
        self.top_k = _only_one({router.top_k for router in chain.from_iterable(routers)}, "as top_k of its routers")
        experts = chain.from_iterable(map(experts_of, layers))
        self.num_experts = _only_one({len(stack.down_proj) for _, stack in experts}, "experts")
        if not 1 <= self.top_k <= self.num_experts:
            raise AdaMolmoError(
                f"the model's top_k is {self.top_k}; it has {self.num_experts} experts, expected 1 to that."
            )
        self._stock: list[Callable[..., Tensor]] = [layer.forward for layer in layers]
        for index, layer in enumerate(layers):
            layer.forward = self._wrapped(index)
        self.text.norm.register_forward_pre_hook(self._keep_hidden)
        self._busy = threading.Lock()
        self._pass: _Pass | None = None

    @property
    def num_layers(self) -> int:
        return len(self._stock)

    @contextmanager
    def knobs(self, top_k: int | None = None, blocks: Iterable[int] | None = None) -> Iterator[_Pass]:
        """Both knobs for the passes inside; afterwards the model is what it was, whatever happened.

        Args:
            top_k: of the layers behind the prefix; None for the model's own.
            blocks: layers that run; None for all.

        Raises AdaMolmoError for a top_k that the model does not have, and while another pass runs: passes share the
        layers, so two at once would give wrong answers without a word.
        """
        top_k = self.top_k if top_k is None else top_k
        if not 1 <= top_k <= self.num_experts:
            raise AdaMolmoError(f"top_k is {top_k}; this model has {self.num_experts} experts, expected 1 to that.")
        if not self._busy.acquire(blocking=False):
            raise AdaMolmoError("the model is busy with another request; expected one at a time.")
        active = frozenset(range(self.num_layers) if blocks is None else blocks)
        self._pass = _Pass(threading.get_ident(), active)
        self._set_top_k(top_k)
        try:
            yield self._pass
        finally:
            self._set_top_k(self.top_k)
            self._pass = None
            self._busy.release()

    def run(
        self, hidden: Tensor, calls: Mapping[int, Call], blocks: Iterable[int], top_k: int, cache: Any | None
    ) -> Tensor:
        """These layers from outside, as the model's own loop would have called them: [rows, tokens, d_model] -> same.

        Args:
            calls: recorded of each.
        """
        with self.knobs(top_k):
            for block in blocks:
                args, kwargs = calls[block]
                hidden = self._stock[block](hidden, *args, **kwargs | {"past_key_values": cache})
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Final norm and head: [..., d_model] -> [..., vocabulary]."""
        return self.head(self.text.norm(hidden))

    def _wrapped(self, index: int) -> Callable[..., Tensor]:
        stock = self._stock[index]

        def forward(hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            current = self._pass
            if current is None:
                return stock(hidden, *args, **kwargs)
            if current.thread != threading.get_ident():
                raise AdaMolmoError("the model is busy with another request; expected one at a time.")
            if index in current.active:
                return stock(hidden, *args, **kwargs)
            current.recorded[index] = args, kwargs
            return hidden

        return forward

    def _keep_hidden(self, norm: nn.Module, args: tuple) -> None:
        if self._pass is not None:
            self._pass.last_hidden = args[0]

    def _set_top_k(self, top_k: int) -> None:
        for router in self._adaptive_routers:
            router.__dict__["top_k"] = top_k  # as `router.top_k = ...`, without a module's checks: this is per token


def _routers(layer: nn.Module) -> list[nn.Module]:
    """Of a layer without experts none, of one that has experts for image tokens two."""
    return [module for module in layer.modules() if isinstance(module.__dict__.get("top_k"), int)]


def experts_of(layer: nn.Module) -> list[tuple[str, nn.Module]]:
    """Stacks of experts with their names: `gate_up_proj` and `down_proj`, [experts, ...]; the first is that of text."""
    return [
        (name, module)
        for name, module in layer.named_modules()
        if isinstance(weights := getattr(module, "gate_up_proj", None), nn.Parameter) and weights.ndim == 3
    ]


def _only_one(values: set[int], what: str) -> int:
    if len(values) != 1:
        raise AdaMolmoError(f"the layers have {sorted(values)} {what}; expected one number for all.")
    return values.pop()
