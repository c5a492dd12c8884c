"""Checkpoints: read strictly from any layout, one tensor at a time; prepared once as one file that a job maps.

A checkpoint is a directory with `config.json` (native olmo format: `config.yaml`), `tokenizer.json` and safetensors
weights, in one file or several. Every stored tensor must be used and none may be missing or of another shape; anything
else is one error that lists the names. Pickled weights are never opened.
"""

import json
import math
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from adamolmo.errors import AdaMolmoError
from adamolmo.files.writing import replacing
from adamolmo.model.config import MolmoEConfig, config_file, read_config
from adamolmo.model.layouts import Shape, canonical_name, fill_stack, layout_of, parts, unstack_experts
from adamolmo.model.molmoe import MolmoE
from adamolmo.model.preprocess import PreprocessConfig
from adamolmo.model.tokenizer import Tokenizer
from adamolmo.progress import progress

WEIGHTS = "model.safetensors"
PREPARED_FILES = (WEIGHTS, "config.json", "tokenizer.json")
INDEX = "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_SAFETENSORS_DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
_READABLE_DTYPES = {*_SAFETENSORS_DTYPES.values(), "F64"}


class Checkpoint:
    """The tensors of a checkpoint by the model's names; opening it reads and checks names, shapes and dtypes alone.

    Attributes:
        config: the model's sizes.
        shapes: name -> shape of every tensor of the model.
    """

    def __init__(self, directory: Path, fixed_prefix_layers: int = 3) -> None:
        """Raises AdaMolmoError: a file cannot be read, or tensors are missing, unexpected, of another shape or no
        floating-point numbers."""
        self.config = MolmoEConfig.load(config_file(directory), fixed_prefix_layers)
        self._files: dict[Path, safe_open] = {}
        self._stored: dict[str, tuple[Path, str]] = {}
        found = self._read_shapes(directory)
        with torch.device("meta"):
            model = MolmoE(self.config)
        self.shapes: dict[str, Shape] = {name: tuple(t.shape) for name, t in model.state_dict().items()}
        self._layout = layout_of(found)
        expected: dict[str, Shape] = {}
        for name, shape in self.shapes.items():
            expected |= parts(name, shape, self._layout)
        check_shapes(expected, found, directory)

    def read(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        """One tensor on the CPU: mapped from the file where it is stored as asked for, otherwise made from its parts.

        `dtype` None keeps the stored one.
        """
        needed = list(parts(name, self.shapes[name], self._layout))
        if needed == [name]:
            tensor = self._read_stored(name)
            return tensor if dtype is None else tensor.to(dtype)
        stack = torch.empty(self.shapes[name], dtype=dtype or self._read_stored(needed[0]).dtype)
        fill_stack(stack, name, self._layout, self._read_stored)
        return stack

    def close(self) -> None:
        """Lets go of the files: what has been read of them no longer counts as this process' memory."""
        self._files.clear()

    def _read_stored(self, name: str) -> Tensor:
        path, stored_name = self._stored[name]
        try:
            return self._open(path).get_tensor(stored_name)
        except (OSError, SafetensorError) as error:
            raise AdaMolmoError(f"{path}: cannot be read as safetensors ({error}).") from error

    def _read_shapes(self, directory: Path) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {}
        for path in weight_files(directory):
            try:
                file = self._open(path)
                slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            except (OSError, SafetensorError) as error:
                raise AdaMolmoError(f"{path}: cannot be read as safetensors ({error}).") from error
            for name, stored in slices.items():
                canonical = canonical_name(name)
                if canonical in shapes:
                    raise AdaMolmoError(f"{path}: tensor {name} is there twice; expected {canonical} once.")
                if (dtype := stored.get_dtype()) not in _READABLE_DTYPES:
                    raise AdaMolmoError(
                        f"{path}: tensor {name} is {dtype}; expected one of {', '.join(sorted(_READABLE_DTYPES))}."
                    )
                shapes[canonical] = tuple(stored.get_shape())
                self._stored[canonical] = (path, name)
        return shapes

    def _open(self, path: Path) -> safe_open:
        if path not in self._files:
            self._files[path] = safe_open(path, framework="pt")
        return self._files[path]


def load_model(
    directory: Path, fixed_prefix_layers: int = 3, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> MolmoE:
    """The model of a checkpoint directory, ready for inference.

    On the CPU the weights of a prepared model stay mapped from its file: nothing is copied when `dtype` is the stored
    one, and jobs on one machine share the memory.

    Raises:
        AdaMolmoError: a file cannot be read, or tensors are missing, unexpected or of another shape.
    """
    checkpoint = Checkpoint(directory, fixed_prefix_layers)
    with torch.device("meta"):
        model = MolmoE(checkpoint.config)
    model.load_state_dict({name: checkpoint.read(name, dtype).to(device) for name in checkpoint.shapes}, assign=True)
    model.rotary.to(device)
    return model.eval().requires_grad_(False)


def prepare_checkpoint(directory: Path, output: Path, dtype: torch.dtype, fixed_prefix_layers: int = 3) -> Checkpoint:
    """Writes a checkpoint of any layout as the three files of a prepared model, with stacked experts in `dtype`.

    Tensors pass through memory one by one. A file appears under its name only when it is complete.

    Raises:
        AdaMolmoError: the checkpoint is unusable (a weight is no finite number in `dtype`, images cannot be cut as its
            configuration says, the tokenizer has more tokens than the model), or `output` cannot be written (the disk
            is full).
    """
    checkpoint = Checkpoint(directory, fixed_prefix_layers)
    PreprocessConfig.of_model(checkpoint.config)
    Tokenizer.load(directory).fitting(checkpoint.config)
    size_bytes = dtype.itemsize * sum(map(math.prod, checkpoint.shapes.values()))

    def read(name: str) -> Tensor:
        checkpoint.close()
        return finite(checkpoint.read(name, dtype), name, directory)

    with replacing(output / WEIGHTS, size_bytes) as temporary:
        write_safetensors(temporary, checkpoint.shapes, dtype, read)
    with replacing(output / "config.json") as temporary:
        temporary.write_text(json.dumps(read_config(config_file(directory)), indent=2, sort_keys=True) + "\n")
    with replacing(output / "tokenizer.json") as temporary:
        shutil.copyfile(directory / "tokenizer.json", temporary)
    return checkpoint


def finite(tensor: Tensor, name: str, source: Path) -> Tensor:
    """The tensor. Raises AdaMolmoError where it is not of finite numbers alone."""
    if tensor.numel() and not all(bound.isfinite() for bound in tensor.aminmax()):  # NaN if any is
        raise AdaMolmoError(f"{source}: tensor {name} has NaN or infinite values as {tensor.dtype}; expected numbers.")
    return tensor


def write_safetensors(
    path: Path, shapes: Mapping[str, Shape], dtype: torch.dtype, read: Callable[[str], Tensor]
) -> None:
    """One file of the safetensors format, of tensors that never are in memory together."""
    header: dict = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": _SAFETENSORS_DTYPES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in progress(shapes, "Tensors stored", len(shapes)):
            file.write(memoryview(read(name).contiguous().view(torch.uint8).numpy()))


def weight_files(directory: Path) -> list[Path]:
    """The safetensors files that an index names, or all of the directory. Raises AdaMolmoError if there is none."""
    index = directory / INDEX
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            return [directory / name for name in names]
        except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise AdaMolmoError(f"{index}: cannot be read as the index of a checkpoint ({error!r}).") from error
    if files := sorted(directory.glob("*.safetensors")):
        return files
    pickles = sorted(path.name for pattern in _PICKLES for path in directory.glob(pattern))
    found = f"found {', '.join(pickles)}, a pickle, which is never opened" if pickles else "found none"
    raise AdaMolmoError(f"{directory}: expected weights as *.safetensors, {found}.")


def save_released(model: MolmoE, path: Path, dtype: torch.dtype) -> None:
    """Writes the weights in the released layout (names, one matrix per expert) to one safetensors file."""
    # A model that has answered on a CPU has its matrices turned in memory.
    tensors = {name: t.detach().to(dtype).contiguous() for name, t in model.state_dict().items()}
    save_file(unstack_experts(tensors), path, metadata={"format": "pt"})


def check_tensors(expected: Mapping[str, Shape], found: Mapping[str, Tensor], source: Path) -> None:
    """Raises AdaMolmoError that lists missing, unexpected and misshapen tensors."""
    check_shapes(expected, {name: tuple(tensor.shape) for name, tensor in found.items()}, source)


def check_shapes(expected: Mapping[str, Shape], found: Mapping[str, Shape], source: Path) -> None:
    """As `check_tensors`, by shapes alone."""
    faults = []
    if missing := sorted(expected.keys() - found.keys()):
        faults.append(f"missing tensors {_names(missing)}")
    if extra := sorted(found.keys() - expected.keys()):
        faults.append(f"unexpected tensors {_names(extra)}")
    wrong = [
        f"{name} {list(found[name])} instead of {list(shape)}"
        for name, shape in sorted(expected.items())
        if name in found and found[name] != shape
    ]
    if wrong:
        faults.append(f"wrong shapes {_names(wrong)}")
    if faults:
        raise AdaMolmoError(f"{source}: {'; '.join(faults)}; expected exactly the tensors of its configuration.")


def _names(names: list[str], limit: int = 8) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
