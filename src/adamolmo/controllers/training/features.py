"""What the learned controllers are trained on, computed once per dataset so that training never runs the model.

For stage 1: per sample the pooled question embedding, the summary of the overview crop and the thumbnail.
For stage 2: per (sample, tier) the keys and values that the prompt leaves in the fixed prefix. The budget token is the
only position whose course through the prefix depends on the controller, and it sees the prompt only through these, so
training can push a budget token through the prefix with gradients to its encoder.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from adamolmo.backend.interface import PromptMemory
from adamolmo.data.samples import Questions
from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import parse_json
from adamolmo.files.features import FeaturesInfo
from adamolmo.files.tensors import read_tensors, write_tensors
from adamolmo.inference.engine import Engine
from adamolmo.inference.grid import batches_by_length
from adamolmo.inference.readings import make_thumbnail, summarise_overview
from adamolmo.progress import progress


@dataclass(frozen=True)
class Readings:
    """What stage 1 can read of each sample (`inference.controller.Stage1Inputs`).

    Attributes:
        question: [samples, d_model], float32.
        overview: [samples, overview_dim], float32.
        thumbnail: uint8 [samples, 3, THUMBNAIL_PX, THUMBNAIL_PX].
    """

    question: Tensor
    overview: Tensor
    thumbnail: Tensor


def save_features(path: Path, info: FeaturesInfo, readings: Readings, prompts: Sequence[PromptMemory]) -> None:
    """Writes one safetensors file, which appears complete or not at all.

    Args:
        prompts: in the order of `info`, in the dtype to store.

    Raises:
        AdaMolmoError: an entry is not finite in that dtype.
    """
    for position, prompt in enumerate(prompts):
        if not prompt.entries.isfinite().all():
            sample, tier = divmod(position, len(info.tiers))
            raise AdaMolmoError(
                f"{path}: sample '{info.sample_ids[sample]}' at tier '{info.tiers[tier]}' has keys or values outside "
                f"the range of {prompt.entries.dtype}; expected finite numbers."
            )
    tensors = {
        "entries": torch.cat([prompt.entries.flatten() for prompt in prompts]),
        "lengths": torch.tensor([prompt.entries.shape[2] for prompt in prompts]),
        "positions": torch.tensor([prompt.position for prompt in prompts]),
    }
    write_tensors({**tensors, **vars(readings)}, path, info.model_dump())


@torch.inference_mode()
def make_features(
    engine: Engine, questions: Questions, dataset: str, batch_size: int, checksum: str, path: Path
) -> None:
    """Reads every sample's question and image, runs vision and the fixed prefix on it at every tier, and writes the
    features file.

    A float32 model's entries are stored as float16, others in the model's own dtype.

    Args:
        checksum: of the model.
    """
    samples, style, backend = questions.samples, questions.style, engine.backend
    dtype = torch.float16 if backend.dtype == torch.float32 else backend.dtype
    batches = [(t, rows) for t in backend.tiers for rows in batches_by_length(engine, questions, t, batch_size)]
    memories = {}
    for tier, rows in progress(batches, f"features {dataset}", len(batches)):
        prompts = [[engine.prepare(samples[row].open_image(), samples[row].question, style, tier)] for row in rows]
        for row, memory in zip(rows, backend.open_batch(prompts, max_new_tokens=0).memories(), strict=True):
            memories[row, tier] = replace(memory, entries=memory.entries.to("cpu", dtype))
    prompts = [memories[row, tier] for row in range(len(samples)) for tier in backend.tiers]
    info = FeaturesInfo(
        dataset=dataset,
        model_checksum=checksum,
        fixed_prefix_layers=backend.sizes.fixed_prefix_layers,
        kv_width=prompts[0].entries.shape[3],
        sample_ids=tuple(sample.sample_id for sample in samples),
        tiers=backend.tiers,
    )
    save_features(path, info, readings_of(engine, questions, batch_size), prompts)


@torch.inference_mode()
def readings_of(engine: Engine, questions: Questions, batch_size: int) -> Readings:
    """Each sample as the engine shows it to a controller in a request."""
    samples, style, backend = questions.samples, questions.style, engine.backend
    overview, thumbnails = [], []
    for start in range(0, len(samples), batch_size):
        images = [sample.open_image() for sample in samples[start : start + batch_size]]
        encoded = backend.encode_overviews([backend.load_overview(image) for image in images])
        overview += [summarise_overview(patches).cpu() for patches in encoded.features]
        thumbnails += [make_thumbnail(image) for image in images]
    questions_read = (backend.read_question(sample.question, style) for sample in samples)
    question = torch.cat([backend.pool_question(read).cpu() for read in questions_read])
    return Readings(question, torch.stack(overview), torch.stack(thumbnails))


class Features:
    """A features file, memory-mapped.

    Attributes:
        info: what it belongs to; gives the order of all samples.
        readings: what stage 1 reads.
    """

    def __init__(self, path: Path):
        """Raises AdaMolmoError when the file is absent, truncated or something else."""
        tensors, info = read_tensors(path)
        self.info = parse_json(json.dumps(info), FeaturesInfo, path)
        self.readings = Readings(*(tensors[field.name] for field in fields(Readings)))
        self._positions = tensors["positions"].tolist()
        per_token = self.info.fixed_prefix_layers * 2 * self.info.kv_width
        self._entries = tensors["entries"].split([length * per_token for length in tensors["lengths"].tolist()])

    def prompt(self, sample: int, tier: int) -> PromptMemory:
        """By the indices of sample and tier in `info`."""
        place = sample * len(self.info.tiers) + tier
        entries = self._entries[place].view(self.info.fixed_prefix_layers, 2, -1, self.info.kv_width)
        return PromptMemory(entries, self._positions[place])


def stack_prompts(
    prompts: Sequence[PromptMemory], dtype: torch.dtype, device: torch.device | str
) -> tuple[Tensor, Tensor, Tensor]:
    """`entries`, `lengths` and `positions`, as a `BudgetPrefix` takes them."""
    lengths = [prompt.entries.shape[2] for prompt in prompts]
    layers, _, _, width = prompts[0].entries.shape
    entries = torch.zeros(layers, 2, len(prompts), max(lengths), width, dtype=dtype)
    for row, (prompt, length) in enumerate(zip(prompts, lengths, strict=True)):
        entries[:, :, row, :length] = prompt.entries
    positions = torch.tensor([prompt.position for prompt in prompts], device=device)
    return entries.to(device), torch.tensor(lengths, device=device), positions
