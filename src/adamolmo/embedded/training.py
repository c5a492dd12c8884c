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
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from adamolmo.data.procedural import (
    COLOURS,
    SHAPES,
    Question,
    Scene,
    crowded_scene,
    entity_questions,
    reading_lesson,
    scene,
)
from adamolmo.embedded.batches import (
    EMPTY,
    PART_LABELS,
    PackedBatch,
    answerable,
    crop_labels,
    pack_images,
    pack_questions,
)
from adamolmo.embedded.muon import Muon
from adamolmo.embedded.recipe import (
    DATASET_SHARES,
    EXISTENCE_SHARE,
    LESSON_SHARES,
    STYLE_OF_DATASET,
    TIERS,
    LearningRate,
    Recipe,
    TrainingTier,
    embedded_config,
    initialise,
)
from adamolmo.model.decoder import Positions
from adamolmo.model.molmoe import MolmoE
from adamolmo.model.preprocess import PreprocessConfig, preprocess
from adamolmo.model.tokenizer import Tokenizer

_LOG_EVERY = 20
_SAVE_EVERY = 50


def train_vision(recipe: Recipe, output: Path) -> None:
    """Phase 1; writes the vision backbone's weights."""
    model = _new_model(recipe)
    _whiten_patches(model, _rng(recipe, "whitening", 0, 0))
    head = nn.Linear(model.config.d_model, EMPTY + 1 + len(COLOURS))
    optimisers = _optimisers(model.vision_backbone, recipe.vision_rate) + [
        torch.optim.AdamW(head.parameters(), lr=1e-3)
    ]
    log = _Log("vision", recipe.vision_steps)
    for step in range(recipe.vision_steps):
        tier = TIERS[_tier_of_step(recipe, "vision", step)]
        rng = _rng(recipe, "vision", 0, step)
        crops, labels = _labelled_crops(model, tier, _batch_size(tier.vision_images, recipe), rng)
        loss, accuracies = _cell_loss(head(model.vision_backbone(*crops)), labels)
        _update(loss, optimisers, step, recipe.vision_steps, recipe)
        log.add(step, {"loss": loss.item(), **accuracies})
    _whiten_features(model, _rng(recipe, "whitening", 0, 1))
    save_file({name: t.contiguous() for name, t in model.vision_backbone.state_dict().items()}, output)


def train_text(recipe: Recipe, tokenizer: Tokenizer, output: Path) -> None:
    """Phase 2; writes the decoder's weights (without the vision backbone)."""
    model = _new_model(recipe)
    optimisers = _optimisers(model, recipe.text_rate)
    log = _Log("text", recipe.text_steps)
    with _RouterLogits(model) as router:
        for step in range(recipe.text_steps):
            rng = _rng(recipe, "text", 0, step)
            rows = [_knowledge_row(rng, recipe.text_questions) for _ in range(recipe.text_rows)]
            batch = pack_questions([tokenizer.eos_id], rows, [STYLE_OF_DATASET["okvqa"]] * len(rows), tokenizer)
            answer_loss, accuracy = _answer_loss(model, batch)
            _update(answer_loss + router.loss(recipe), optimisers, step, recipe.text_steps, recipe)
            log.add(step, {"loss": answer_loss.item(), "accuracy": accuracy.mean().item()})
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
        _align_features(model, tokenizer, recipe)
        _flatten_routers(model, recipe)
    for part in (model.vision_backbone, *_routers(model)):
        part.requires_grad_(False)
    optimisers = _optimisers(model, recipe.joint_rate)
    log = _Log("joint", recipe.joint_steps) if rank == 0 else None
    for step in range(first_step, recipe.joint_steps):
        # One tier for all workers: they wait for each other after every step.
        tier = "low" if step < recipe.low_tier_steps else _tier_of_step(recipe, "joint", step)
        rng, lessons = _rng(recipe, "joint", rank, step), step < recipe.lesson_steps
        batch, datasets = _image_batch(model, tokenizer, recipe, TIERS[tier], rng, lessons)
        loss, accuracy = _answer_loss(model, batch)
        warmup = step - first_step if first_step else step
        _update(loss, optimisers, step, recipe.joint_steps, recipe, workers, warmup)
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


def _rng(recipe: Recipe, phase: str, rank: int, step: int) -> np.random.Generator:
    return np.random.default_rng([recipe.seed, sum(phase.encode()), rank, step])


def _training_scene(dataset: str, rng: np.random.Generator) -> Scene:
    return scene(dataset, "training", _scene_number(rng))


def _lesson_scene(dataset: str, rng: np.random.Generator) -> Scene:
    """A training scene, or an easier one that teaches a part of it."""
    if dataset == "text_vqa":
        lesson = rng.choice([*LESSON_SHARES, None], p=[*LESSON_SHARES.values(), 1 - sum(LESSON_SHARES.values())])
        if lesson is not None:
            return reading_lesson(lesson, "training", _scene_number(rng))
    result = _training_scene(dataset, rng)
    if dataset == "coco_2014_vqa" and rng.random() < EXISTENCE_SHARE:
        result.questions = [question for question in result.questions if question.text.startswith("is there")]
    return result


def _scene_number(rng: np.random.Generator) -> int:
    return int(rng.integers(2**40))


@torch.no_grad()
def _whiten_patches(model: MolmoE, rng) -> None:
    """Starts the patch embedding as the whitened principal components of patches: small towers learn much faster from
    decorrelated inputs of unit variance."""
    (pixels, _), _ = _labelled_crops(model, TIERS["high"], 12, rng)
    patches = pixels.flatten(0, 2)
    eigenvalues, eigenvectors = torch.linalg.eigh(torch.cov(patches.T))
    weight = model.vision_backbone.image_vit.patch_embedding.weight
    weight.copy_((eigenvectors / (eigenvalues + 1e-2).sqrt()).T.flip(0)[: len(weight)])


@torch.no_grad()
def _whiten_features(model: MolmoE, rng) -> None:
    """Folds a linear map into the projector that gives image features about unit variance in every direction.

    As they are learned, one constant direction makes up most of their length, which the decoder's norms would pass on.
    """
    backbone, config = model.vision_backbone, PreprocessConfig.of_model(model.config)
    features = []
    for tier in TIERS.values():
        for dataset in STYLE_OF_DATASET:
            crops = [preprocess(_training_scene(dataset, rng).image, 1, tier.max_crops, config) for _ in range(8)]
            inputs = torch.stack([c.pixels for c in crops]), torch.stack([c.masks for c in crops])
            features.append(backbone(*inputs).flatten(0, 2))
    second_moment = torch.stack([f.T @ f / len(f) for f in features]).mean(dim=0)
    eigenvalues, eigenvectors = torch.linalg.eigh(second_moment)
    whitening = (eigenvectors / (eigenvalues + 1).sqrt()) @ eigenvectors.T
    weight = backbone.image_projector.w2.weight
    weight.copy_(whitening @ weight)


@torch.no_grad()
def _align_features(model: MolmoE, tokenizer: Tokenizer, recipe: Recipe) -> None:
    """Folds a linear map into the projector that adds to every image feature the embeddings of the words for what it
    shows, found by ridge regression: the decoder, which knows the words, can look for them in the image at once."""
    features, labels = [], []
    rng = _rng(recipe, "alignment", 0, 0)
    for tier in TIERS.values():
        crops, shown = _labelled_crops(model, tier, _batch_size(10 * tier.vision_images, recipe), rng)
        features.append(model.vision_backbone(*crops).flatten(0, 2))
        labels.append(shown.flatten(0, 2))
    features, (part, colour) = torch.cat(features), torch.cat(labels).T
    words = _word_embeddings(model, tokenizer, PART_LABELS), _word_embeddings(model, tokenizer, tuple(COLOURS))
    shown = part != EMPTY
    targets = torch.zeros_like(features)
    targets[shown] = words[0][part[shown]] + words[1][colour[shown]]
    weights = torch.where(shown, 1.0, 0.1)[:, None]
    moment = (features * weights).T @ features + len(features) * 1e-4 * torch.eye(features.shape[1])
    to_words = torch.linalg.solve(moment, (features * weights).T @ targets).T
    error = (features @ to_words.T - targets)[shown].square().sum() / targets[shown].square().sum()
    print(f"alignment: {100 * (1 - error):.0f} % of the words' variance is in the features", flush=True)
    weight = model.vision_backbone.image_projector.w2.weight
    weight.copy_((to_words + 0.1 * torch.eye(len(to_words))) @ weight)


@torch.no_grad()
def _flatten_routers(model: MolmoE, recipe: Recipe) -> None:
    """Makes the experts' weights nearly equal and leaves their order. A peaked router makes top_k a knob that costs
    nothing: the experts that are left out hardly counted."""
    for router in _routers(model):
        router.weight.mul_(recipe.router_scale)


def _routers(model: MolmoE) -> list[nn.Linear]:
    return [block.mlp.gate for block in model.transformer["blocks"]]


def _word_embeddings(model: MolmoE, tokenizer: Tokenizer, words: tuple[str, ...]) -> Tensor:
    """Mean embedding of a word with and without the blank before it (one token each), [words, d_model]."""
    table = model.transformer["wte"].embedding
    ids = [
        [tokenizer.encode(text)[-1] for text in (f" {word}", word if word.isdigit() else f" {word}")] for word in words
    ]
    return table[torch.tensor(ids)].mean(dim=1)


def _labelled_crops(model: MolmoE, tier: TrainingTier, count: int, rng) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """High-resolution crops of crowded scenes with the labels of their tokens. The overview is left out: several parts
    share each of its tokens."""
    config = PreprocessConfig.of_model(model.config)
    drawn = [crowded_scene(tier.smallest_px, "training", _scene_number(rng)) for _ in range(count)]
    crops = [preprocess(s.image, 1, tier.max_crops, config) for s in drawn]
    labels = [crop_labels(s.parts, c.tiling, config.crop_tokens[0]) for s, c in zip(drawn, crops, strict=True)]
    inputs = torch.stack([c.pixels[1:] for c in crops]), torch.stack([c.masks[1:] for c in crops])
    return inputs, torch.from_numpy(np.stack(labels))


def _cell_loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Cross entropy of each token's part and colour; empty cells are most of an image and count little."""
    part, colour = labels.flatten(0, 2).T
    part_logits, colour_logits = logits.flatten(0, 2).split([EMPTY + 1, len(COLOURS)], dim=1)
    shown = part != EMPTY
    weights = torch.ones(EMPTY + 1)
    weights[EMPTY] = 0.05
    loss = F.cross_entropy(part_logits, part, weights) + F.cross_entropy(colour_logits[shown], colour[shown])
    right = part_logits.argmax(1) == part
    is_digit = shown & (part >= EMPTY - 10)
    right_colour = colour_logits[shown].argmax(1) == colour[shown]
    kinds = {"shape": right[shown & ~is_digit], "digit": right[is_digit], "colour": right_colour}
    return loss, {name: values.float().mean().item() for name, values in kinds.items() if len(values)}


def _knowledge_row(rng, count: int) -> list[Question]:
    """Questions about random entities, each called by its colour and shape."""
    row = []
    for shape, colour in zip(rng.choice(SHAPES, count), rng.choice(list(COLOURS), count), strict=True):
        asked = entity_questions((str(shape), str(colour)), f"{colour} {shape}")
        row.append(asked[rng.integers(len(asked))])
    return row


def _tier_of_step(recipe: Recipe, phase: str, step: int) -> str:
    shares = [tier.share for tier in TIERS.values()]
    return str(_rng(recipe, f"{phase} tier", 0, step).choice(list(TIERS), p=shares))


def _batch_size(images: int, recipe: Recipe) -> int:
    return max(1, round(images * recipe.batch_share))


def _image_batch(
    model, tokenizer, recipe: Recipe, tier: TrainingTier, rng, lessons: bool
) -> tuple[PackedBatch, list[str]]:
    config = PreprocessConfig.of_model(model.config)
    datasets, drawn, questions = [], [], []
    while len(drawn) < _batch_size(tier.joint_images, recipe):
        dataset = str(rng.choice(list(DATASET_SHARES), p=list(DATASET_SHARES.values())))
        candidate = _lesson_scene(dataset, rng) if lessons else _training_scene(dataset, rng)
        asked = answerable(candidate, tier.smallest_px)
        if asked:
            datasets.append(dataset)
            drawn.append(candidate)
            questions.append(asked[: recipe.questions_per_image])
    crops = [preprocess(s.image, 1, tier.max_crops, config) for s in drawn]
    return pack_images(crops, questions, [STYLE_OF_DATASET[d] for d in datasets], tokenizer, config), datasets


def answer_logits(model: MolmoE, batch: PackedBatch) -> tuple[Tensor, Tensor]:
    """Logits [answer tokens, embedding_size] and targets [answer tokens] of all answers of a batch, row by row."""
    features = None if batch.pixels is None else model.vision_backbone(batch.pixels, batch.masks)
    x = model.embed(batch.input_ids, features, batch.image_input_idx)
    cos, sin = model.rotary(batch.position_ids)
    positions = Positions(cos, sin, batch.mask, slots=None, num_keys=x.shape[1])
    hidden = model.forward_blocks(x, range(model.config.num_layers), model.config.top_k, positions)
    asked = batch.targets >= 0
    return model.lm_head(model.transformer["ln_f"](hidden[asked])), batch.targets[asked]


def _answer_loss(model: MolmoE, batch: PackedBatch) -> tuple[Tensor, Tensor]:
    """Cross entropy of the answers' tokens, and per row the share of those tokens that are predicted right."""
    logits, targets = answer_logits(model, batch)
    row = (batch.targets >= 0).nonzero()[:, 0]
    right = (logits.argmax(-1) == targets).float()
    num_rows = len(batch.targets)
    accuracy = torch.zeros(num_rows).index_add(0, row, right) / row.bincount(minlength=num_rows)
    return F.cross_entropy(logits, targets), accuracy


class _RouterLogits:
    """Collects every block's router logits of a forward pass, for the balancing losses of OLMoE (arXiv 2409.02060)."""

    def __init__(self, model: MolmoE):
        self.model, self.logits = model, []

    def __enter__(self) -> "_RouterLogits":
        def keep(_module, _inputs, logits: Tensor) -> None:
            self.logits.append(logits)

        self.hooks = [router.register_forward_hook(keep) for router in _routers(self.model)]
        return self

    def __exit__(self, *_) -> None:
        for hook in self.hooks:
            hook.remove()

    def loss(self, recipe: Recipe) -> Tensor:
        """Load-balancing and z-loss of the collected logits, which are forgotten."""
        config, total = self.model.config, 0.0
        for logits in self.logits:
            probabilities = logits.softmax(dim=-1)
            chosen = probabilities.topk(config.top_k, dim=-1).indices
            load = chosen.flatten().bincount(minlength=config.num_experts) / chosen.numel()
            balance = config.num_experts * (load * probabilities.mean(dim=0)).sum()
            z = logits.logsumexp(dim=-1).square().mean()
            total = total + recipe.load_balance * balance + recipe.router_z * z
        count = len(self.logits)
        self.logits.clear()
        return total / count


def _optimisers(module: nn.Module, rate: LearningRate) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices; AdamW for embeddings, head, norms and biases, and slowly for the routers."""
    muon, adam, router = [], [], []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.endswith("mlp.gate.weight"):
            router.append(parameter)
        elif parameter.ndim >= 2 and not any(part in name for part in ("embed", "lm_head")):
            muon.append(parameter)
        else:
            adam.append(parameter)
    groups = [{"params": adam, "lr": rate.adam}, {"params": router, "lr": rate.adam / 10}]
    adamw = torch.optim.AdamW([g for g in groups if g["params"]], betas=(0.9, 0.98), weight_decay=0.0)
    optimisers = [Muon(muon, rate.muon), adamw]
    return optimisers


def _update(loss, optimisers, step: int, steps: int, recipe: Recipe, workers: int = 1, warmup: int | None = None):
    """One optimiser step: warm-up, constant, linear decay over the last `decay_share` of the steps."""
    loss.backward()
    if workers > 1:
        _average_gradients(optimisers, workers)
    rise = min(1.0, ((step if warmup is None else warmup) + 1) / recipe.warmup_steps)
    factor = rise * min(1.0, (steps - step) / (recipe.decay_share * steps))
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group.setdefault("peak", group["lr"])
            group["lr"] = group["peak"] * factor
        optimiser.step()
        optimiser.zero_grad()


def _average_gradients(optimisers, workers: int) -> None:
    gradients = [p.grad for p in _parameters(optimisers) if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= workers
    for gradient, averaged in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(averaged.view_as(gradient))


def _parameters(optimisers) -> Iterator[Tensor]:
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            yield from group["params"]


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
