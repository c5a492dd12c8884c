"""A trained policy on disk: its weights, and the study that it is only valid for."""

from pathlib import Path

from torch import nn

from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import read_json, write_json
from adamolmo.files.policy import Fingerprint, PolicyCard
from adamolmo.files.tensors import read_tensors, write_tensors
from adamolmo.model.checkpoint import check_tensors

WEIGHTS, CARD = "policy.safetensors", "policy.json"


def save_policy(directory: Path, policy: nn.Module, card: PolicyCard) -> None:
    """Writes policy.safetensors and policy.json, each complete or not at all."""
    write_tensors(policy.state_dict(), directory / WEIGHTS)
    write_json(card, directory / CARD)


def load_card(directory: Path, present: Fingerprint) -> PolicyCard:
    """Raises AdaMolmoError when the file is unusable or the policy was trained for another study than `present`."""
    path = directory / CARD
    card = read_json(path, PolicyCard)
    for field, trained, wanted in card.fingerprint.differences(present):
        raise AdaMolmoError(
            f"{path}: the policy was trained for {field} '{trained}'; this study has '{wanted}', train again."
        )
    return card


def load_weights(directory: Path, policy: nn.Module) -> None:
    """Raises AdaMolmoError when the file is unusable or its tensors are not exactly the policy's."""
    path = directory / WEIGHTS
    tensors, _ = read_tensors(path)
    if odd := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise AdaMolmoError(f"{path}: tensor {odd[0]} has NaN or infinite values; expected numbers, train again.")
    check_tensors({name: tuple(t.shape) for name, t in policy.state_dict().items()}, tensors, path)
    policy.load_state_dict(tensors)
    policy.eval().requires_grad_(False)
