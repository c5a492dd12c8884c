"""What the learned controllers are trained on, computed once per dataset so that training never runs the model.

For stage 1: per sample the pooled question embedding, the summary of the overview crop and the thumbnail.
For stage 2: per (sample, tier) the keys and values that the prompt leaves in the fixed prefix. The budget token is the
only position whose course through the prefix depends on the controller, and it sees the prompt only through these, so
training can push a budget token through the prefix with gradients to its encoder.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn

from adamolmo.data.samples import Questions
from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import parse_json
from adamolmo.files.features import FeaturesInfo
from adamolmo.files.tensors import read_tensors, write_tensors
from adamolmo.inference.engine import Engine
from adamolmo.inference.grid import batches_by_length, run_shared
from adamolmo.inference.readings import make_thumbnail, summarise_overview
from adamolmo.model.checkpoint import Checkpoint, check_prepared
from adamolmo.model.config import MolmoEConfig
from adamolmo.model.decoder import DecoderBlock, KVCache, Positions, Rotary
from adamolmo.model.molmoe import PrefixState
from adamolmo.model.preprocess import preprocess_overview
from adamolmo.progress import progress


class FixedPrefix(nn.Module):
    """The blocks of the fixed prefix alone, for budget tokens behind stored prompts."""

    def __init__(self, config: MolmoEConfig):
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.fixed_prefix_layers))
        self.rotary = Rotary(config)

    @classmethod
    def load(
        cls, directory: Path, fixed_prefix_layers: int, dtype: torch.dtype = torch.float32, device: str = "cpu"
    ) -> "FixedPrefix":
        """Reads only these blocks of a checkpoint. Raises AdaMolmoError for an unreadable or unfitting checkpoint."""
        check_prepared(Path(directory))
        checkpoint = Checkpoint(Path(directory), fixed_prefix_layers)
        with torch.device("meta"):
            prefix = cls(checkpoint.config)
        tensors = {name: checkpoint.read(f"transformer.{name}", dtype).to(device) for name in prefix.state_dict()}
        prefix.load_state_dict(tensors, assign=True)
        prefix.rotary.to(device)
        return prefix.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self.rotary.frequencies.device

    @property
    def dtype(self) -> torch.dtype:
        return self.blocks[0].attn.att_proj.weight.dtype

    def forward(self, tokens: Tensor, entries: Tensor, lengths: Tensor) -> Tensor:
        """The tokens' states after the prefix, [rows, tokens, d_model].

        Each token stands at the position behind the prompt and does not see the others, as if it were the only one.

        Args:
            tokens: embeddings, [rows, tokens, d_model].
            entries: the prompts' keys and values, [layers, 2, rows, slots, d_model].
            lengths: tokens of each prompt, [rows].
        """
        rows, count = tokens.shape[:2]
        slots = entries.shape[3]
        own = (slots + torch.arange(count, device=tokens.device)).expand(rows, -1)  # [rows, tokens]
        in_prompt = torch.arange(slots, device=tokens.device) < lengths[:, None]  # [rows, slots]
        # [rows, tokens, slots + tokens]
        mask = torch.cat([in_prompt[:, None].expand(-1, count, -1), own[:, :, None] == own[:, None, :]], dim=-1)
        cos_sin = self.rotary(lengths[:, None].expand(-1, count))  # each [rows, 1, tokens, head_dim]
        positions = Positions(*cos_sin, mask[:, None], own, slots + count)
        for block, layer in zip(self.blocks, entries, strict=True):  # [2, rows, slots, d_model]
            # Copies with room for the tokens' own keys and values, which the block writes into them.
            cache = tuple(self._heads(nn.functional.pad(part, (0, 0, 0, count))) for part in layer)
            tokens = block(tokens, self.config.top_k, positions, cache)
        return tokens

    def _heads(self, x: Tensor) -> Tensor:
        """[rows, slots, d_model] -> [rows, heads, slots, head_dim]."""
        return x.unflatten(-1, (self.config.num_heads, self.config.head_dim)).transpose(1, 2)


def prompt_entries(prefix: PrefixState, cache: KVCache, num_layers: int) -> list[Tensor]:
    """Keys and values that `run_prefix` left in the cache, of each row's real tokens: [layers, 2, tokens, d_model].

    Args:
        num_layers: blocks of the fixed prefix.
    """
    pairs = zip(cache.keys[:num_layers], cache.values[:num_layers], strict=True)
    layers = torch.stack([torch.stack(pair) for pair in pairs])  # [layers, 2, rows, heads, slots, head_dim]
    rows = layers.permute(2, 0, 1, 4, 3, 5).flatten(4)  # [rows, layers, 2, slots, d_model]
    return [row[:, :, :length] for row, length in zip(rows, prefix.lengths.tolist(), strict=True)]


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


def save_features(path: Path, info: FeaturesInfo, readings: Readings, entries: Sequence[Tensor]) -> None:
    """Writes one safetensors file, which appears complete or not at all.

    Args:
        entries: of every prompt in the order of `info`, [layers, 2, tokens, d_model] in the dtype to store.

    Raises:
        AdaMolmoError: an entry is not finite in that dtype.
    """
    for position, prompt in enumerate(entries):
        if not prompt.isfinite().all():
            sample, tier = divmod(position, len(info.tiers))
            raise AdaMolmoError(
                f"{path}: sample '{info.sample_ids[sample]}' at tier '{info.tiers[tier]}' has keys or values outside "
                f"the range of {prompt.dtype}; expected finite numbers."
            )
    lengths = torch.tensor([prompt.shape[2] for prompt in entries])
    tensors = {"entries": torch.cat([prompt.flatten() for prompt in entries]), "lengths": lengths, **vars(readings)}
    write_tensors(tensors, path, info.model_dump())


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
    samples, style = questions.samples, questions.style
    tiers, num_layers = tuple(engine.tiers), engine.model.config.fixed_prefix_layers
    dtype = torch.float16 if engine.dtype == torch.float32 else engine.dtype
    batches = [(t, rows) for t in tiers for rows in batches_by_length(engine, questions, t, batch_size)]
    entries = {}
    for tier, rows in progress(batches, f"features {dataset}", len(batches)):
        inputs = [engine.prepare(samples[row].open_image(), samples[row].question, style, tier) for row in rows]
        for row, prompt in zip(rows, prompt_entries(*run_shared(engine, inputs), num_layers), strict=True):
            entries[row, tier] = prompt.to("cpu", dtype)
    sample_ids = tuple(sample.sample_id for sample in samples)
    info = FeaturesInfo(
        dataset=dataset,
        model_checksum=checksum,
        fixed_prefix_layers=num_layers,
        d_model=engine.model.config.d_model,
        sample_ids=sample_ids,
        tiers=tiers,
    )
    prompts = [entries[row, tier] for row in range(len(samples)) for tier in tiers]
    save_features(path, info, readings_of(engine, questions, batch_size), prompts)


@torch.inference_mode()
def readings_of(engine: Engine, questions: Questions, batch_size: int) -> Readings:
    """Each sample as the engine shows it to a controller in a request."""
    samples, style = questions.samples, questions.style
    overview, thumbnails = [], []
    for start in range(0, len(samples), batch_size):
        images = [sample.open_image() for sample in samples[start : start + batch_size]]
        pixels = torch.stack([preprocess_overview(image, engine.preprocess_config) for image in images])
        # [samples, 1, patches, patch_dim] -> [samples, 1, patches, feature_dim]
        patches = engine.model.vision_backbone.encode(pixels.to(engine.device, engine.dtype))
        overview.append(summarise_overview(patches[:, 0]).cpu())
        thumbnails += [make_thumbnail(image) for image in images]
    question = torch.cat(
        [engine.pool_question(engine.question_ids(sample.question, style)).cpu() for sample in samples]
    )
    return Readings(question, torch.cat(overview), torch.stack(thumbnails))


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
        per_token = self.info.fixed_prefix_layers * 2 * self.info.d_model
        self._prompts = tensors["entries"].split([length * per_token for length in tensors["lengths"].tolist()])

    def prompt(self, sample: int, tier: int) -> Tensor:
        """Entries of one prompt, by the indices of sample and tier in `info`: [layers, 2, tokens, d_model]."""
        prompt = self._prompts[sample * len(self.info.tiers) + tier]
        return prompt.view(self.info.fixed_prefix_layers, 2, -1, self.info.d_model)


def stack_prompts(prompts: Sequence[Tensor], dtype: torch.dtype, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """`entries` and `lengths`, as `FixedPrefix` takes them."""
    lengths = [prompt.shape[2] for prompt in prompts]
    layers, _, _, width = prompts[0].shape
    entries = torch.zeros(layers, 2, len(prompts), max(lengths), width, dtype=dtype)
    for row, (prompt, length) in enumerate(zip(prompts, lengths, strict=True)):
        entries[:, :, row, :length] = prompt
    return entries.to(device), torch.tensor(lengths, device=device)
