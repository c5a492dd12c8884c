"""A trained policy on disk: its weights, and the study that it is only valid for."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import read_json, write_json
from adamolmo.files.policy import Fingerprint, PolicyCard
from adamolmo.files.writing import replacing
from adamolmo.model.checkpoint import check_tensors

WEIGHTS, CARD = "policy.safetensors", "policy.json"


def save_policy(directory: Path, policy: nn.Module, card: PolicyCard) -> None:
    """Writes policy.safetensors and policy.json, each complete or not at all."""
    with replacing(directory / WEIGHTS) as weights:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in policy.state_dict().items()}, weights)
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
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise AdaMolmoError(f"{path}: cannot be read as safetensors ({error}).") from error
    check_tensors({name: tuple(t.shape) for name, t in policy.state_dict().items()}, tensors, path)
    policy.load_state_dict(tensors)
    policy.eval().requires_grad_(False)
