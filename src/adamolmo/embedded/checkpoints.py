"""What a phase of the training is resumed from: all that its next step depends on, and by what it was made."""

import json
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor, nn
from torch.optim import Optimizer

from adamolmo.embedded.training_log import TrainingLog
from adamolmo.errors import AdaMolmoError
from adamolmo.files.embedded import TrainedInfo
from adamolmo.files.tensors import read_tensors, write_tensors

_SECONDS_BETWEEN = 100


@dataclass
class TrainingState:
    """A phase between two steps. Random numbers and learning rates are functions of the step, so this is everything.

    Attributes:
        modules: what is trained, and what else has weights, by name.
        optimisers: with their moments.
        step: steps that are done.
        log: their lines.
    """

    modules: dict[str, nn.Module]
    optimisers: list[Optimizer]
    step: int = 0
    log: TrainingLog = field(default_factory=TrainingLog)

    def tensors(self) -> dict[str, Tensor]:
        tensors = {
            f"{name}.{key}": tensor
            for name, module in self.modules.items()
            for key, tensor in module.state_dict().items()
        }
        for number, optimiser in enumerate(self.optimisers):
            for parameter, moments in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{number}.{parameter}.{key}": tensor for key, tensor in moments.items()}
        return tensors

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        for name, module in self.modules.items():
            module.load_state_dict(_under(f"{name}.", tensors))
        for number, optimiser in enumerate(self.optimisers):
            moments = defaultdict(dict)
            for key, tensor in _under(f"optimiser.{number}.", tensors).items():
                parameter, name = key.split(".")
                moments[int(parameter)][name] = (
                    tensor.clone()
                )  # the file's tensors are mapped, and steps write in place
            optimiser.load_state_dict({**optimiser.state_dict(), "state": dict(moments)})


@dataclass
class Checkpoint:
    """A file beside the phase's result, which exists while the phase is unfinished."""

    path: Path
    made_by: Mapping[str, Any]
    written: float = field(default_factory=time.monotonic)

    @classmethod
    def beside(cls, output: Path, made_by: Mapping[str, Any]) -> "Checkpoint":
        return cls(output.with_suffix(".checkpoint.safetensors"), made_by)

    def load(self, state: TrainingState) -> bool:
        """Puts what the file holds into `state`; whether there is one.

        Raises AdaMolmoError when it is damaged, or was made by something else.
        """
        if not self.path.exists():
            return False
        tensors, info = read_trained(self.path, self.made_by)
        state.load(tensors)
        state.step, state.log = info.step, TrainingLog(list(info.log))
        return True

    def save_if_due(self, state: TrainingState) -> None:
        if time.monotonic() - self.written >= _SECONDS_BETWEEN:
            self.save(state)

    def save(self, state: TrainingState) -> None:
        write_trained(self.path, state.tensors(), self.made_by, state)
        self.written = time.monotonic()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def write_trained(path: Path, tensors: Mapping[str, Tensor], made_by: Mapping[str, Any], state: TrainingState) -> None:
    info = TrainedInfo(made_by=_flat(made_by), step=state.step, log=tuple(state.log.lines))
    write_tensors(tensors, path, info.model_dump())


def read_trained(path: Path, made_by: Mapping[str, Any]) -> tuple[dict[str, Tensor], TrainedInfo]:
    """Tensors that `write_trained` wrote. Raises AdaMolmoError when they are damaged or made by something else."""
    tensors, raw = read_tensors(path)
    try:
        info = TrainedInfo.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        raise AdaMolmoError(f"{path}: is no part of a training of this version; delete it to begin anew.") from error
    expected = _flat(made_by)
    if other := [key for key in expected | info.made_by if info.made_by.get(key) != expected.get(key)]:
        found, wanted = (values.get(other[0], "missing") for values in (info.made_by, expected))
        raise AdaMolmoError(
            f"{path}: belongs to another training ({other[0]} is {found:.80}, expected {wanted:.80}); "
            "delete it to begin anew, or train with what it was made by."
        )
    return tensors, info


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _flat(value: Any, key: str = "") -> dict[str, str]:
    """Nested mappings and sequences as one mapping of text, with keys like `recipe.seed`."""
    if not isinstance(value, (Mapping, list, tuple)):
        return {key: str(value)}
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    return {name: leaf for k, v in items for name, leaf in _flat(v, f"{key}.{k}".removeprefix(".")).items()}
