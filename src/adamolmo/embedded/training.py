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

from adamolmo.embedded.batches import pack_questions
from adamolmo.embedded.checkpoints import Checkpoint, TrainingState, read_trained, write_trained
from adamolmo.embedded.curves import draw
from adamolmo.embedded.easy_vqa import EasyVqa
from adamolmo.embedded.export import export_checkpoint
from adamolmo.embedded.labels import COLOUR_LABELS, EMPTY
from adamolmo.embedded.lessons import View, choice, image_batch, knowledge_row, labelled_crops, rng_of
from adamolmo.embedded.losses import RouterLogits, answer_loss, cell_loss, routers
from adamolmo.embedded.optimisation import adamw, make_optimisers, take_step
from adamolmo.embedded.projections import align_features, flatten_routers, whiten_patches
from adamolmo.embedded.recipe import JOINT_SHARDS, STYLES, LearningRate, Recipe, stage_at, total_steps
from adamolmo.embedded.training_log import write_log
from adamolmo.embedded.workers import ALONE, Workers, run_in
from adamolmo.errors import AdaMolmoError
from adamolmo.files.writing import file_checksum
from adamolmo.model.preprocess import PreprocessConfig
from adamolmo.model.tokenizer import Tokenizer
from adamolmo.progress import progress
from adamolmo.report.figures.style import save

Shard = tuple[Tensor, Mapping[str, Sequence[float]]]  # the loss of a shard of a batch, and what was right by kind

_STEPS_PER_LINE = 20  # of the log; checkpoints are written between two lines


def train_vision(recipe: Recipe, easy_vqa: Path, output: Path) -> None:
    """Phase 1; writes the vision backbone's weights."""
    model, pictures = recipe.new_model(), EasyVqa(easy_vqa)
    config = PreprocessConfig.of_model(model.config)
    head = nn.Linear(model.config.d_model, EMPTY + 1 + len(COLOUR_LABELS))
    optimisers = make_optimisers(model.vision_backbone, recipe.vision.rate)
    optimisers.append(adamw([{"params": list(head.parameters()), "peak": recipe.vision.rate.adam}]))
    state = TrainingState({"backbone": model.vision_backbone, "head": head}, optimisers)
    checkpoint = Checkpoint.beside(output, recipe.made_by("vision"))
    if not checkpoint.load(state):
        whiten_patches(model, recipe, pictures)

    def loss_of(step: int, shard: int) -> Shard:
        rng = rng_of(recipe, "vision", shard, step)
        stage = stage_at(recipe.vision.stages, step)
        view = View(stage, rng, config, choice(rng, stage.tiers))
        crops, labels = labelled_crops(recipe, view, rng, pictures)
        loss, right = cell_loss(head(model.vision_backbone(*crops)), labels)
        return loss, {f"{shown} {view.tier}": values for shown, values in right.items()}

    _run("vision", total_steps(recipe.vision.stages), recipe.vision.rate, state, loss_of, checkpoint)
    write_trained(output, model.vision_backbone.state_dict(), checkpoint.made_by, state)
    checkpoint.remove()


def train_text(recipe: Recipe, tokenizer: Tokenizer, output: Path) -> None:
    """Phase 2; writes the decoder's weights (without the vision backbone)."""
    model, phase = recipe.new_model(), recipe.text
    parts = {"transformer": model.transformer, "lm_head": model.lm_head}
    state = TrainingState(parts, make_optimisers(nn.ModuleDict(parts), phase.rate))
    checkpoint = Checkpoint.beside(output, recipe.made_by("text"))
    checkpoint.load(state)

    def loss_of(step: int, shard: int) -> Shard:
        rng = rng_of(recipe, "text", shard, step)
        rows = [knowledge_row(rng, phase.questions) for _ in range(phase.rows)]
        batch = pack_questions([tokenizer.eos_id], rows, [STYLES["okvqa"]] * len(rows), tokenizer)
        with RouterLogits(model) as router:
            loss, accuracy = answer_loss(model, batch)
            return loss + router.loss(phase), {"knowledge": accuracy.tolist()}

    _run("text", phase.steps, phase.rate, state, loss_of, checkpoint)
    weights = {f"{name}.{key}": t for name, part in parts.items() for key, t in part.state_dict().items()}
    write_trained(output, weights, checkpoint.made_by, state)
    checkpoint.remove()


def train_joint(
    recipe: Recipe,
    easy_vqa: Path,
    tokenizer_dir: Path,
    vision: Path,
    text: Path,
    output_dir: Path,
    processes: int = JOINT_SHARDS,
) -> None:
    """Phase 3, in one or two processes of one thread each; writes the whole model as a released checkpoint, and the log
    of all three phases, with its curves."""
    run_in(processes, _joint_worker, recipe, easy_vqa, tokenizer_dir, vision, text, output_dir)


def _joint_worker(
    workers: Workers, recipe: Recipe, easy_vqa: Path, tokenizer_dir: Path, vision: Path, text: Path, output_dir: Path
) -> None:
    model, pictures, tokenizer = recipe.new_model(), EasyVqa(easy_vqa), Tokenizer.load(tokenizer_dir)
    config, phase = PreprocessConfig.of_model(model.config), recipe.joint
    seen, vision_info = read_trained(vision, recipe.made_by("vision"))
    said, text_info = read_trained(text, recipe.made_by("text"))
    parts = {"vision": file_checksum(vision), "text": file_checksum(text)}
    for part in (model.vision_backbone, *routers(model)):
        part.requires_grad_(False)
    state = TrainingState({"model": model}, make_optimisers(model, phase.rate))
    checkpoint = Checkpoint.beside(output_dir.with_name("joint.safetensors"), recipe.made_by("joint", parts=parts))
    if not checkpoint.load(state):
        model.load_state_dict({**{f"vision_backbone.{name}": tensor for name, tensor in seen.items()}, **said})
        align_features(model, tokenizer, recipe, pictures)
        flatten_routers(model, recipe)

    def loss_of(step: int, shard: int) -> Shard:
        stage = stage_at(phase.stages, step)
        # One tier for all shards: processes wait for each other after every step.
        tier = choice(rng_of(recipe, "joint tier", 0, step), stage.tiers)
        rng = rng_of(recipe, "joint", shard, step)
        view = View(stage, rng, config, tier)
        batch, datasets = image_batch(recipe, view, rng, pictures, tokenizer)
        loss, accuracy = answer_loss(model, batch)
        right = defaultdict(list)
        for dataset, share in zip(datasets, accuracy.tolist(), strict=True):
            right[f"{dataset} {view.tier}"].append(share)
        return loss, right

    _run("joint", total_steps(phase.stages), phase.rate, state, loss_of, checkpoint, JOINT_SHARDS, workers)
    if workers.is_first:
        export_checkpoint(model, recipe, output_dir)
        lines = [*vision_info.log, *text_info.log, *state.log.lines]
        write_log(lines, output_dir / "training.jsonl")
        save(draw(lines), output_dir / "training", suffixes=["png"])
        checkpoint.remove()


def _run(
    phase: str,
    steps: int,
    rate: LearningRate,
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
            if workers.is_first:
                state.log.add(loss.item(), right)
        workers.sum_gradients(state.optimisers)
        take_step(state.optimisers, rate.share_at(step, steps), shards)
        state.step = step + 1
        if workers.is_first and (state.step % _STEPS_PER_LINE == 0 or state.step == steps):
            state.log.end_line(phase, state.step)
            checkpoint.save_if_due(state)
