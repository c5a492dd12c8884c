"""Trains the embedded model from scratch, as MolmoE was: first the parts alone, then everything together.

1. vision: tower, pooling and projector predict what each image token shows (one linear layer, thrown away afterwards).
2. text: the decoder learns the knowledge base from text alone.
3. joint: the decoder learns to answer questions about images, in one or two processes. The tower stays as it is, and so
   do the routers, flattened.

Every batch is a function of (seed, phase, shard, step), the schedule of the number of steps, and checkpoints hold the
rest: a run that was killed at any point goes on, and ends with the same weights as one that was not.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from adamolmo.data.procedural import COLOURS
from adamolmo.embedded.batches import EMPTY, pack_questions
from adamolmo.embedded.checkpoints import Checkpoint, TrainingState, read_trained, write_trained
from adamolmo.embedded.export import export_checkpoint
from adamolmo.embedded.lessons import batch_size, image_batch, knowledge_row, labelled_crops, rng_of
from adamolmo.embedded.losses import RouterLogits, answer_loss, cell_loss, routers
from adamolmo.embedded.optimisation import adamw, make_optimisers, rate_at, take_step
from adamolmo.embedded.projections import align_features, flatten_routers, whiten_features, whiten_patches
from adamolmo.embedded.recipe import (
    JOINT_SHARDS,
    STYLE_OF_DATASET,
    TIERS,
    Recipe,
)
from adamolmo.embedded.training_log import write_log
from adamolmo.embedded.workers import ALONE, Workers, run_in
from adamolmo.errors import AdaMolmoError
from adamolmo.files.writing import file_checksum
from adamolmo.model.tokenizer import Tokenizer
from adamolmo.progress import progress

Shard = tuple[Tensor, Mapping[str, Sequence[float]]]  # the loss of a shard of a batch, and what was right by kind

_STEPS_PER_LINE = 20  # of the log; checkpoints are written between two lines


def train_vision(recipe: Recipe, output: Path) -> None:
    """Phase 1; writes the vision backbone's weights."""
    model = recipe.new_model()
    head = nn.Linear(model.config.d_model, EMPTY + 1 + len(COLOURS))
    optimisers = make_optimisers(model.vision_backbone, recipe.vision_rate)
    optimisers.append(adamw([{"params": list(head.parameters()), "peak": recipe.vision_rate.adam}]))
    state = TrainingState({"backbone": model.vision_backbone, "head": head}, optimisers)
    checkpoint = Checkpoint.beside(output, recipe.made_by("vision"))
    if not checkpoint.load(state):
        whiten_patches(model, rng_of(recipe, "whitening", 0, 0))

    def loss_of(step: int, shard: int) -> Shard:
        tier = TIERS[_tier_of_step(recipe, "vision", step)]
        rng = rng_of(recipe, "vision", shard, step)
        crops, labels = labelled_crops(model, tier, batch_size(tier.vision_images, recipe), rng)
        return cell_loss(head(model.vision_backbone(*crops)), labels)

    _run("vision", recipe.vision_steps, recipe, state, loss_of, checkpoint)
    whiten_features(model, recipe)
    write_trained(output, model.vision_backbone.state_dict(), checkpoint.made_by, state)
    checkpoint.remove()


def train_text(recipe: Recipe, tokenizer: Tokenizer, output: Path) -> None:
    """Phase 2; writes the decoder's weights (without the vision backbone)."""
    model = recipe.new_model()
    parts = {"transformer": model.transformer, "lm_head": model.lm_head}
    state = TrainingState(parts, make_optimisers(nn.ModuleDict(parts), recipe.text_rate))
    checkpoint = Checkpoint.beside(output, recipe.made_by("text"))
    checkpoint.load(state)

    def loss_of(step: int, shard: int) -> Shard:
        rng = rng_of(recipe, "text", shard, step)
        rows = [knowledge_row(rng, recipe.text_questions) for _ in range(recipe.text_rows)]
        batch = pack_questions([tokenizer.eos_id], rows, [STYLE_OF_DATASET["okvqa"]] * len(rows), tokenizer)
        with RouterLogits(model) as router:
            loss, accuracy = answer_loss(model, batch)
            return loss + router.loss(recipe), {"knowledge": accuracy.tolist()}

    _run("text", recipe.text_steps, recipe, state, loss_of, checkpoint)
    weights = {f"{name}.{key}": t for name, part in parts.items() for key, t in part.state_dict().items()}
    write_trained(output, weights, checkpoint.made_by, state)
    checkpoint.remove()


def train_joint(
    recipe: Recipe, tokenizer_dir: Path, vision: Path, text: Path, output_dir: Path, processes: int = 2
) -> None:
    """Phase 3, in one or two processes of one thread each; writes the whole model as a released checkpoint, and the log
    of all three phases."""
    run_in(processes, _joint_worker, recipe, tokenizer_dir, vision, text, output_dir)


def _joint_worker(
    workers: Workers, recipe: Recipe, tokenizer_dir: Path, vision: Path, text: Path, output_dir: Path
) -> None:
    tokenizer = Tokenizer.load(tokenizer_dir)
    model = recipe.new_model()
    seen, vision_info = read_trained(vision, recipe.made_by("vision"))
    said, text_info = read_trained(text, recipe.made_by("text"))
    parts = {"vision": file_checksum(vision), "text": file_checksum(text)}
    for part in (model.vision_backbone, *routers(model)):
        part.requires_grad_(False)
    state = TrainingState({"model": model}, make_optimisers(model, recipe.joint_rate))
    checkpoint = Checkpoint.beside(output_dir.with_name("joint.safetensors"), recipe.made_by("joint", parts=parts))
    if not checkpoint.load(state):
        model.load_state_dict({**{f"vision_backbone.{name}": tensor for name, tensor in seen.items()}, **said})
        align_features(model, tokenizer, recipe)
        flatten_routers(model, recipe)

    def loss_of(step: int, shard: int) -> Shard:
        # One tier for all shards: processes wait for each other after every step.
        tier = "low" if step < recipe.low_tier_steps else _tier_of_step(recipe, "joint", step)
        rng, lessons = rng_of(recipe, "joint", shard, step), step < recipe.lesson_steps
        batch, datasets = image_batch(model, tokenizer, recipe, TIERS[tier], rng, lessons)
        loss, accuracy = answer_loss(model, batch)
        right = defaultdict(list)
        for dataset, share in zip(datasets, accuracy.tolist(), strict=True):
            right[f"{dataset} {tier}"].append(share)
        return loss, right

    _run("joint", recipe.joint_steps, recipe, state, loss_of, checkpoint, JOINT_SHARDS, workers)
    if workers.is_first:
        export_checkpoint(model, recipe, output_dir)
        write_log([*vision_info.log, *text_info.log, *state.log.lines], output_dir / "training.jsonl")
        checkpoint.remove()


def _run(
    phase: str,
    steps: int,
    recipe: Recipe,
    state: TrainingState,
    loss_of: Callable[[int, int], Shard],
    checkpoint: Checkpoint,
    shards: int = 1,
    workers: Workers = ALONE,
) -> None:
    """The steps that `state` has not done yet; `loss_of` takes step and shard. The first process keeps log and
    checkpoint: weights and moments are the same in all of them."""
    remaining = range(state.step, steps)
    if workers.is_first:
        remaining = progress(remaining, f"{phase}, steps", steps, earlier=state.step)
    for step in remaining:
        for shard in workers.own(shards):
            loss, right = loss_of(step, shard)
            if not loss.isfinite():
                raise AdaMolmoError(f"{phase}, step {step}: the loss is {loss.item()}; the recipe does not converge.")
            loss.backward()
            state.log.add(loss.item(), right)
        workers.sum_gradients(state.optimisers)
        take_step(state.optimisers, rate_at(step, steps, recipe), shards)
        state.step = step + 1
        if workers.is_first and (state.step % _STEPS_PER_LINE == 0 or state.step == steps):
            state.log.end_line(phase, state.step)
            checkpoint.save_if_due(state)


def _tier_of_step(recipe: Recipe, phase: str, step: int) -> str:
    shares = [tier.share for tier in TIERS.values()]
    return str(rng_of(recipe, f"{phase} tier", 0, step).choice(list(TIERS), p=shares))
