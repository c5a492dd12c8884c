"""A trained policy on disk: its weights, and the study that it is only valid for."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from adamolmo.controllers.fingerprint import Fingerprint
from adamolmo.errors import AdaMolmoError
from adamolmo.files.writing import replacing
from adamolmo.model.checkpoint import check_tensors

WEIGHTS, CARD = "policy.safetensors", "policy.json"


@dataclass(frozen=True)
class PolicyCard:
    """Attributes:
    controller: its name.
    fingerprint: of the study that it was trained for.
    architecture: what the networks are built from: d_model, overview_dim, mobilevit.
    scale_ms: budgets enter the networks as budget / scale_ms.
    training: settings, seed, size and outcome of the training, for the record.
    """

    controller: str
    fingerprint: Fingerprint
    architecture: dict
    scale_ms: float
    training: dict

    @property
    def overhead_ms(self) -> float:
        """What deciding adds to a request's latency; of a controller with parts, that of the slowest."""
        found = self.training.get("overhead_ms", 0.0)
        return max(found) if isinstance(found, list) else found


def save_policy(directory: Path, policy: nn.Module, card: PolicyCard) -> None:
    """Writes policy.safetensors and policy.json, each complete or not at all."""
    with replacing(directory / CARD) as text, replacing(directory / WEIGHTS) as weights:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in policy.state_dict().items()}, weights)
        text.write_text(json.dumps(asdict(card), indent=1) + "\n")


def load_card(directory: Path, present: Fingerprint) -> PolicyCard:
    """Raises AdaMolmoError when the file is unusable or the policy was trained for another study than `present`."""
    path = directory / CARD
    try:
        raw = json.loads(path.read_text())
        card = PolicyCard(**raw | {"fingerprint": Fingerprint.from_dict(raw["fingerprint"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AdaMolmoError(f"{path}: cannot be read as the description of a policy ({error!r}).") from error
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
