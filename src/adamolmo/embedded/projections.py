"""Linear maps that are computed, not learned, and folded into weights before and between the phases."""

import torch
from torch import Tensor

from adamolmo.data.procedural import COLOURS
from adamolmo.embedded.batches import EMPTY, PART_LABELS
from adamolmo.embedded.lessons import batch_size, labelled_crops, rng_of, training_scene
from adamolmo.embedded.losses import routers
from adamolmo.embedded.recipe import STYLE_OF_DATASET, TIERS, Recipe
from adamolmo.model.molmoe import MolmoE
from adamolmo.model.preprocess import PreprocessConfig, preprocess
from adamolmo.model.tokenizer import Tokenizer
from adamolmo.progress import note


@torch.no_grad()
def whiten_patches(model: MolmoE, rng) -> None:
    """Starts the patch embedding as the whitened principal components of patches: small towers learn much faster from
    decorrelated inputs of unit variance."""
    (pixels, _), _ = labelled_crops(model, TIERS["high"], 12, rng)
    patches = pixels.flatten(0, 2)
    eigenvalues, eigenvectors = torch.linalg.eigh(torch.cov(patches.T))
    weight = model.vision_backbone.image_vit.patch_embedding.weight
    weight.copy_((eigenvectors / (eigenvalues + 1e-2).sqrt()).T.flip(0)[: len(weight)])


@torch.no_grad()
def whiten_features(model: MolmoE, recipe: Recipe) -> None:
    """Folds a linear map into the projector that gives image features about unit variance in every direction.

    As they are learned, one constant direction makes up most of their length, which the decoder's norms would pass on.
    """
    backbone, config = model.vision_backbone, PreprocessConfig.of_model(model.config)
    rng, count, features = rng_of(recipe, "whitening", 0, 1), batch_size(8, recipe), []
    for tier in TIERS.values():
        for dataset in STYLE_OF_DATASET:
            crops = [preprocess(training_scene(dataset, rng).image, 1, tier.max_crops, config) for _ in range(count)]
            inputs = torch.stack([c.pixels for c in crops]), torch.stack([c.masks for c in crops])
            features.append(backbone(*inputs).flatten(0, 2))
    second_moment = torch.stack([f.T @ f / len(f) for f in features]).mean(dim=0)
    eigenvalues, eigenvectors = torch.linalg.eigh(second_moment)
    whitening = (eigenvectors / (eigenvalues + 1).sqrt()) @ eigenvectors.T
    weight = backbone.image_projector.w2.weight
    weight.copy_(whitening @ weight)


@torch.no_grad()
def align_features(model: MolmoE, tokenizer: Tokenizer, recipe: Recipe) -> None:
    """Folds a linear map into the projector that adds to every image feature the embeddings of the words for what it
    shows, found by ridge regression: the decoder, which knows the words, can look for them in the image at once."""
    features, labels = [], []
    rng = rng_of(recipe, "alignment", 0, 0)
    for tier in TIERS.values():
        crops, shown = labelled_crops(model, tier, batch_size(10 * tier.vision_images, recipe), rng)
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
    note(f"alignment: {100 * (1 - error):.0f} % of the words' variance is in the features")
    weight = model.vision_backbone.image_projector.w2.weight
    weight.copy_((to_words + 0.1 * torch.eye(len(to_words))) @ weight)


@torch.no_grad()
def flatten_routers(model: MolmoE, recipe: Recipe) -> None:
    """Makes the experts' weights nearly equal and leaves their order. A peaked router makes top_k a knob that costs
    nothing: the experts that are left out hardly counted."""
    for router in routers(model):
        router.weight.mul_(recipe.router_scale)


def _word_embeddings(model: MolmoE, tokenizer: Tokenizer, words: tuple[str, ...]) -> Tensor:
    """Mean embedding of a word with and without the blank before it (one token each), [words, d_model]."""
    table = model.transformer["wte"].embedding
    ids = [
        [tokenizer.encode(text)[-1] for text in (f" {word}", word if word.isdigit() else f" {word}")] for word in words
    ]
    return table[torch.tensor(ids)].mean(dim=1)
