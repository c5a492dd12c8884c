"""Trains the embedded model from scratch, as MolmoE was: first the parts alone, then everything together.

1. vision: tower, pooling and projector predict what each image token shows (one linear layer, thrown away afterwards).
2. text: the decoder learns the knowledge base from text alone.
3. joint: the decoder learns to answer questions about images, in data-parallel processes. The tower stays as it is, and
   so do the routers, flattened.

Every batch is a function of (seed, phase, worker, step), the schedule of the number of steps: a run can be repeated,
and one that was killed continues from its last checkpoint (with fresh optimiser moments).
"""

import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import nn

from adamolmo.data.procedural import (
    COLOURS,
)
from adamolmo.embedded.batches import (
    EMPTY,
    pack_questions,
)
from adamolmo.embedded.lessons import batch_size, image_batch, knowledge_row, labelled_crops, rng_of
from adamolmo.embedded.losses import RouterLogits, answer_loss, cell_loss, routers
from adamolmo.embedded.optimisation import make_optimisers, take_step
from adamolmo.embedded.projections import align_features, flatten_routers, whiten_features, whiten_patches
from adamolmo.embedded.recipe import (
    STYLE_OF_DATASET,
    TIERS,
    Recipe,
    embedded_config,
    initialise,
)
from adamolmo.model.molmoe import MolmoE
from adamolmo.model.tokenizer import Tokenizer

_LOG_EVERY = 20
_SAVE_EVERY = 50


def train_vision(recipe: Recipe, output: Path) -> None:
    """Phase 1; writes the vision backbone's weights."""
    model = _new_model(recipe)
    whiten_patches(model, rng_of(recipe, "whitening", 0, 0))
    head = nn.Linear(model.config.d_model, EMPTY + 1 + len(COLOURS))
    optimisers = make_optimisers(model.vision_backbone, recipe.vision_rate) + [
        torch.optim.AdamW(head.parameters(), lr=1e-3)
    ]
    log = _Log("vision", recipe.vision_steps)
    for step in range(recipe.vision_steps):
        tier = TIERS[_tier_of_step(recipe, "vision", step)]
        rng = rng_of(recipe, "vision", 0, step)
        crops, labels = labelled_crops(model, tier, batch_size(tier.vision_images, recipe), rng)
        loss, accuracies = cell_loss(head(model.vision_backbone(*crops)), labels)
        take_step(loss, optimisers, step, recipe.vision_steps, recipe)
        log.add(step, {"loss": loss.item(), **accuracies})
    whiten_features(model, rng_of(recipe, "whitening", 0, 1))
    save_file({name: t.contiguous() for name, t in model.vision_backbone.state_dict().items()}, output)


def train_text(recipe: Recipe, tokenizer: Tokenizer, output: Path) -> None:
    """Phase 2; writes the decoder's weights (without the vision backbone)."""
    model = _new_model(recipe)
    optimisers = make_optimisers(model, recipe.text_rate)
    log = _Log("text", recipe.text_steps)
    with RouterLogits(model) as router:
        for step in range(recipe.text_steps):
            rng = rng_of(recipe, "text", 0, step)
            rows = [knowledge_row(rng, recipe.text_questions) for _ in range(recipe.text_rows)]
            batch = pack_questions([tokenizer.eos_id], rows, [STYLE_OF_DATASET["okvqa"]] * len(rows), tokenizer)
            loss, accuracy = answer_loss(model, batch)
            take_step(loss + router.loss(recipe), optimisers, step, recipe.text_steps, recipe)
            log.add(step, {"loss": loss.item(), "accuracy": accuracy.mean().item()})
    save_file({n: t for n, t in model.state_dict().items() if not n.startswith("vision_backbone.")}, output)


def train_joint(recipe: Recipe, tokenizer_dir: Path, vision: Path, text: Path, output: Path, workers: int = 2) -> None:
    """Phase 3, in `workers` processes of one thread each; writes the whole model's weights (float32).

    `output` with the suffix `.checkpoint.safetensors` is written on the way and is where a killed run continues.
    """
    with tempfile.TemporaryDirectory() as meeting_place:
        arguments = (workers, recipe, tokenizer_dir, vision, text, output, f"file://{meeting_place}/workers")
        torch.multiprocessing.spawn(_joint_worker, arguments, nprocs=workers)


def _joint_worker(
    rank: int, workers: int, recipe: Recipe, tokenizer_dir, vision, text, output: Path, meet: str
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meet, rank=rank, world_size=workers)
    tokenizer = Tokenizer.load(tokenizer_dir)
    model = _new_model(recipe)
    checkpoint = output.with_suffix(".checkpoint.safetensors")
    first_step = _load_start(model, vision, text, checkpoint)
    if first_step == 0:
        align_features(model, tokenizer, recipe)
        flatten_routers(model, recipe)
    for part in (model.vision_backbone, *routers(model)):
        part.requires_grad_(False)
    optimisers = make_optimisers(model, recipe.joint_rate)
    log = _Log("joint", recipe.joint_steps) if rank == 0 else None
    for step in range(first_step, recipe.joint_steps):
        # One tier for all workers: they wait for each other after every step.
        tier = "low" if step < recipe.low_tier_steps else _tier_of_step(recipe, "joint", step)
        rng, lessons = rng_of(recipe, "joint", rank, step), step < recipe.lesson_steps
        batch, datasets = image_batch(model, tokenizer, recipe, TIERS[tier], rng, lessons)
        loss, accuracy = answer_loss(model, batch)
        warmup = step - first_step if first_step else step
        take_step(loss, optimisers, step, recipe.joint_steps, recipe, workers, warmup)
        if log is None:
            continue
        log.add(step, {"loss": loss.item()})
        log.add(step, {f"{d}_{tier}": a for d, a in zip(datasets, accuracy.tolist(), strict=True)})
        if (step + 1) % _SAVE_EVERY == 0:
            _save_checkpoint(model, step + 1, checkpoint)
    if rank == 0:
        save_file(model.state_dict(), output)
    dist.barrier()
    dist.destroy_process_group()


def _load_start(model: MolmoE, vision: Path, text: Path, checkpoint: Path) -> int:
    """Loads the checkpoint if there is one, else the two parts; returns the step to start at."""
    if checkpoint.exists():
        tensors = load_file(checkpoint)
        first_step = int(tensors.pop("step"))
    else:
        first_step = 0
        tensors = load_file(text) | {f"vision_backbone.{n}": t for n, t in load_file(vision).items()}
    model.load_state_dict(tensors)
    return first_step


def _save_checkpoint(model: MolmoE, step: int, path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    save_file({**model.state_dict(), "step": torch.tensor(step)}, temporary)
    temporary.replace(path)


def _new_model(recipe: Recipe) -> MolmoE:
    model = MolmoE(embedded_config())
    initialise(model, recipe.seed)
    return model


def _tier_of_step(recipe: Recipe, phase: str, step: int) -> str:
    shares = [tier.share for tier in TIERS.values()]
    return str(rng_of(recipe, f"{phase} tier", 0, step).choice(list(TIERS), p=shares))


class _Log:
    """Means of the last steps, one line each."""

    def __init__(self, phase: str, steps: int):
        self.phase, self.steps, self.values = phase, steps, defaultdict(list)

    def add(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.values[name].append(value)
        if (step + 1) % _LOG_EVERY == 0 and "loss" in " ".join(values):
            means = "  ".join(f"{name} {np.mean(v):.3f}" for name, v in sorted(self.values.items()))
            print(f"{self.phase} {step + 1}/{self.steps}  {means}", flush=True)
            self.values.clear()
