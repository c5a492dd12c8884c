"""A trained policy on disk: its weights, and the study that it is only valid for."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from adamolmo.errors import AdaMolmoError, quoted
from adamolmo.files.documents import read_json, write_json
from adamolmo.files.policy import Fingerprint, PolicyCard
from adamolmo.files.tensors import read_tensors, write_tensors
from adamolmo.model.checkpoint import check_tensors

Card = TypeVar("Card", bound=PolicyCard)
Policy = TypeVar("Policy", bound=nn.Module)
WEIGHTS, CARD = "policy.safetensors", "policy.json"


def save_policy(directory: Path, policy: nn.Module, card: PolicyCard) -> None:
    """Writes policy.safetensors and policy.json, each complete or not at all."""
    write_tensors(policy.state_dict(), directory / WEIGHTS)
    write_json(card, directory / CARD)


def load_card(directory: Path, present: Fingerprint, kind: type[Card]) -> Card:
    """Of the controller that the directory is called after. Raises AdaMolmoError when the file is unusable, of another
    controller, or the policy was trained for another study than `present`."""
    path = directory / CARD
    card = read_json(path, kind)
    if card.controller != directory.name:
        raise AdaMolmoError(
            f"{path}: is of controller {quoted(card.controller)}; expected '{directory.name}', train again."
        )
    for field, trained, wanted in card.fingerprint.differences(present):
        raise AdaMolmoError(
            f"{path}: the policy was trained for {field} '{trained}'; this study has '{wanted}', train again."
        )
    return card


def load_weights(directory: Path, build: Callable[[], Policy]) -> Policy:
    """Raises AdaMolmoError when the file is unusable or its tensors are not exactly the policy's."""
    path = directory / WEIGHTS
    tensors, _ = read_tensors(path)
    if odd := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise AdaMolmoError(f"{path}: tensor {odd[0]} has NaN or infinite values; expected numbers, train again.")
    with torch.device("meta"):  # nothing is made as large as the card says before there are weights for it
        expected = {name: tuple(tensor.shape) for name, tensor in build().state_dict().items()}
    check_tensors(expected, tensors, path)
    policy = build()
    policy.load_state_dict(tensors)
    return policy.eval().requires_grad_(False)
