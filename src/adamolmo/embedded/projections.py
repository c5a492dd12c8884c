"""Linear maps that are computed, not learned, and folded into weights before and between the phases."""

import torch
from torch import Tensor

from adamolmo.embedded.easy_vqa import EasyVqa
from adamolmo.embedded.labels import COLOUR_LABELS, EMPTY, IGNORED, PART_LABELS
from adamolmo.embedded.lessons import View, labelled_crops, rng_of
from adamolmo.embedded.losses import routers
from adamolmo.embedded.recipe import TIERS_MAX_CROPS, Recipe
from adamolmo.model.molmoe import MolmoE
from adamolmo.model.preprocess import PreprocessConfig
from adamolmo.model.tokenizer import Tokenizer
from adamolmo.progress import note

_VIEWS_PER_TIER = 25


@torch.no_grad()
def whiten_patches(model: MolmoE, recipe: Recipe, pictures: EasyVqa) -> None:
    """Starts the patch embedding as the whitened principal components of patches: small towers learn much faster from
    decorrelated inputs of unit variance."""
    rng, config = rng_of(recipe, "whitening", 0, 0), PreprocessConfig.of_model(model.config)
    views = [View(recipe.vision.stages[-1], rng, config, "high") for _ in range(_VIEWS_PER_TIER)]
    patches = torch.cat([labelled_crops(recipe, view, rng, pictures)[0][0].flatten(0, 2) for view in views])
    eigenvalues, eigenvectors = torch.linalg.eigh(torch.cov(patches.T))
    weight = model.vision_backbone.image_vit.patch_embedding.weight
    weight.copy_((eigenvectors / (eigenvalues + 1e-2).sqrt()).T.flip(0)[: len(weight)])


@torch.no_grad()
def align_features(model: MolmoE, tokenizer: Tokenizer, recipe: Recipe, pictures: EasyVqa) -> None:
    """Folds a linear map into the projector that turns every image feature into the embeddings of the words for what it
    shows, found by ridge regression, and a tenth of the whitened feature: the decoder, which knows the words, can look
    for them in the image at once.

    As they are learned, one constant direction makes up most of the features' length, which the decoder's norms would
    pass on.
    """
    features, part, colour = _labelled_features(model, recipe, pictures)
    words = _word_embeddings(model, tokenizer, PART_LABELS), _word_embeddings(model, tokenizer, COLOUR_LABELS)
    shown = (part != EMPTY) & (part != IGNORED)
    targets = torch.zeros_like(features)
    targets[shown] = words[0][part[shown]] + words[1][colour[shown]]
    weights = torch.where(shown, 1.0, 0.1)[:, None] * (part != IGNORED)[:, None]
    moment = (features * weights).T @ features
    ridge = 1e-4 * moment.diagonal().mean() * torch.eye(len(moment))
    to_words = torch.linalg.solve(moment + ridge, (features * weights).T @ targets).T
    error = (features @ to_words.T - targets)[shown].square().sum() / targets[shown].square().sum()
    note(f"alignment: {100 * (1 - error):.0f} % of the words' variance is in the features")
    eigenvalues, eigenvectors = torch.linalg.eigh(features.T @ features / len(features))
    whitening = (eigenvectors / (eigenvalues + 1).sqrt()) @ eigenvectors.T
    weight = model.vision_backbone.image_projector.w2.weight
    weight.copy_((to_words + 0.1 * whitening) @ weight)


def _labelled_features(model: MolmoE, recipe: Recipe, pictures: EasyVqa) -> tuple[Tensor, Tensor, Tensor]:
    """Features of image tokens, [tokens, d_model], and what they show: part and colour, [tokens] each."""
    rng, config = rng_of(recipe, "alignment", 0, 0), PreprocessConfig.of_model(model.config)
    views = [
        View(recipe.vision.stages[-1], rng, config, tier) for tier in TIERS_MAX_CROPS for _ in range(_VIEWS_PER_TIER)
    ]
    features, labels = [], []
    for view in views:
        crops, shown = labelled_crops(recipe, view, rng, pictures)
        features.append(model.vision_backbone(*crops).flatten(0, 2))
        labels.append(shown.flatten(0, 2))
    return torch.cat(features), *torch.cat(labels).T


@torch.no_grad()
def flatten_routers(model: MolmoE, recipe: Recipe) -> None:
    """Makes the experts' weights nearly equal and leaves their order. A peaked router makes top_k a knob that costs
    nothing: the experts that are left out hardly counted."""
    for router in routers(model):
        router.weight.mul_(recipe.joint.router_scale)


def _word_embeddings(model: MolmoE, tokenizer: Tokenizer, words: tuple[str, ...]) -> Tensor:
    """Mean embedding of a word with and without the blank before it (one token each), [words, d_model]."""
    table = model.transformer["wte"].embedding
    ids = [
        [tokenizer.encode(text)[-1] for text in (f" {word}", word if word.isdigit() else f" {word}")] for word in words
    ]
    return table[torch.tensor(ids)].mean(dim=1)
