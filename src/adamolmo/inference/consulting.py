"""What a controller says, checked where the engine asks: a controller may be anybody's."""

from __future__ import annotations

from collections.abc import Set
from operator import index
from typing import TYPE_CHECKING, get_args

from adamolmo.errors import AdaMolmoError, quoted
from adamolmo.inference.controller import Controller, Decision, Limit, Reading, Stage1Inputs

if TYPE_CHECKING:  # who asks a table needs no torch
    from torch import Tensor, device, dtype

_READINGS = frozenset(get_args(Reading))


def what_it_reads(controller: Controller, limit: Limit) -> Set[Reading]:
    """Raises AdaMolmoError for anything that no engine prepares."""
    reads = controller.reads(limit)
    if not isinstance(reads, Set) or not reads <= _READINGS:
        raise _unusable(controller, "reads", reads, f"a set of some of {', '.join(get_args(Reading))}")
    return reads


def first_decision(controller: Controller, inputs: Stage1Inputs) -> Decision:
    """Before vision. Raises AdaMolmoError for anything but a Decision."""
    decision = controller.predict_stage1(inputs)
    if not isinstance(decision, Decision):
        raise _unusable(controller, "decides by", decision, "a Decision from predict_stage1")
    return decision


def second_decision(
    controller: Controller, budget_ms: float, decision: Decision, budget_state: Tensor | None
) -> tuple[int, int]:
    """(top_k, num_active_blocks) after the fixed prefix, as plain numbers. Raises AdaMolmoError for anything else."""
    chosen = controller.predict_stage2(budget_ms, decision, budget_state)
    try:
        top_k, num_blocks = map(index, chosen)
        if bool in map(type, chosen):
            raise TypeError
    except (TypeError, ValueError) as error:
        raise _unusable(controller, "chooses", chosen, "two whole numbers, top_k and active blocks") from error
    return top_k, num_blocks


def budget_token(controller: Controller, budget_ms: float, width: int, dtype: dtype, device: device) -> Tensor | None:
    """[1, width] where the model is, or none. Raises AdaMolmoError for anything else."""
    token = controller.budget_token(budget_ms)
    expected = ((1, width), dtype, device.type)
    if token is not None and (found := _form_of(token)) != expected:
        raise _unusable(controller, "has a budget token of", found, f"a tensor of {expected}")
    return token


def _form_of(token: object) -> tuple:
    """Shape, dtype, kind of device; of what is no tensor its type."""
    if not hasattr(token, "device"):
        return (type(token).__name__,)
    return tuple(token.shape), token.dtype, getattr(token.device, "type", token.device)


def _unusable(controller: Controller, does: str, found: object, expected: str) -> AdaMolmoError:
    return AdaMolmoError(f"controller '{controller.name}' {does} {quoted(found)}; expected {expected}.")
