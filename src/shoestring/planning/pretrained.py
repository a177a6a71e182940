"""Pretrained networks: their weights, the size of their input, and which blocks are trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from shoestring.config.model_files import model_folder
from shoestring.config.plan import FineTune
from shoestring.config.recipe import Recipe, Train
from shoestring.data.build import PHOTO_SIDE, AtMost, Resolution
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.models import timm
from shoestring.models.blocks import find_blocks, tuned_blocks
from shoestring.models.description import read_description
from shoestring.models.model import Model
from shoestring.models.preprocessing import Preprocessing
from shoestring.planning.tuning import LEAST_EPOCHS

SIDES = (96, 128, 160, 192, 224)  # pixels of the input that are considered
DEFAULT_SIDE = 128  # where the budget is not a time
LEARNING_RATE, WEIGHT_DECAY = 3e-4, 0.02  # of AdamW, for the last block before the head
# Factors on the learning rate of the head: a new one must move far, a fitted one is right already. With a factor of 10
# a fitted head lost half a point in four epochs on 500 scenes, with 1 the network gained two (one seed, validation).
NEW_HEAD_FACTOR, FITTED_HEAD_FACTOR = 10.0, 1.0
_DECAY = 0.9  # factor on the learning rate from each block to the one before it


def with_weights(settings: Train) -> Train:
    """Return the settings with the initial weights chosen.

    A timm network starts from its pretrained weights, if there are any and nothing else is requested.
    """
    name = settings.model.removeprefix(timm.PREFIX)
    if settings.weights is None and settings.model.startswith(timm.PREFIX) and timm.has_pretrained(name):
        return replace(settings, weights="pretrained")
    return settings


def is_pretrained(settings: Train) -> bool:
    """Whether a timm network starts from weights."""
    return settings.starts_from_weights and settings.model.startswith(timm.PREFIX)


def settings_like(model: Model, settings: Train) -> Train:
    """Return the settings for training a finished model further: a timm network with its pretrained input is one.

    The name of the network and its weights are set, so that it is fine-tuned as it was before.
    """
    if settings.model != "auto" or not model.name.startswith(timm.PREFIX):
        return settings
    name, size = model.name.removeprefix(timm.PREFIX), model.preprocessing
    if not timm.has_pretrained(name) or timm.pretrained_input(name)[:2] != (size.mean, size.std):
        return replace(settings, model=model.name, weights="none", tune="auto")
    return replace(settings, model=model.name, weights="pretrained")


def is_open(recipe: Recipe) -> bool:
    """Whether the recipe leaves the network open, so that a pretrained one may be chosen."""
    train = recipe.train
    own = (train.width, train.norm, train.dropout, train.shortcut)  # options of networks from scratch
    unset = train.weights is None and all(value is None for value in own)
    return train.model == "auto" and unset and recipe.grow.is_auto


def stored_resolution(recipe: Recipe) -> Resolution:
    """Return the resolution at which the images of a recipe are stored: larger if the network may be pretrained."""
    if recipe.resolution is not None:
        return recipe.resolution
    return AtMost(PHOTO_SIDE) if is_open(recipe) or is_pretrained(with_weights(recipe.train)) else None


def input_like(size: Preprocessing, settings: Train, *, side: int | None) -> Preprocessing:
    """Return the preprocessing that loaded weights were trained with; `size` is that of the images.

    Test-time augmentation and fit stay those of `size`. Pretrained networks take color images; grayscale ones are
    repeated.
    """
    if settings.weights is None or not settings.starts_from_weights:
        return size
    folder = model_folder(Path(settings.weights)) if settings.weights != "pretrained" else None
    if folder is not None:
        saved = read_description(folder).preprocessing
        if saved.channels != size.channels:
            return size
        return replace(size, mean=saved.mean, std=saved.std, interpolation=saved.interpolation)
    if not is_pretrained(settings):
        return size
    mean, std, interpolation, fixed = timm.pretrained_input(settings.model.removeprefix(timm.PREFIX))
    resolution = fixed or side or max(size.resolution, SIDES[0])
    shift = round(size.shift * resolution / size.resolution)
    return Preprocessing(resolution, len(mean), mean, std, size.mirror, shift, interpolation, size.fit)


def sides_for(images: Images) -> list[int]:
    """Return the sides of the input, in pixels, that are considered for images like these, in ascending order.

    Images are enlarged to at most the default side, as details that they do not have cannot be seen.
    """
    return [side for side in SIDES if side <= max(images.shape[0], DEFAULT_SIDE)]


def choose_fine_tuning(model: Model, settings: Train, *, epochs: float) -> FineTune | None:
    """Return how loaded weights are fine-tuned; None if the network is trained as a whole at equal rates.

    `epochs` is how many fit into the budget if all blocks are trained. Raises `UserError` for blocks that the network
    does not have, and without weights to tune.
    """
    if not settings.starts_from_weights:
        if settings.tune != "auto":
            raise UserError("--tune names blocks of a pretrained network: set --weights or a timm --model, or omit it.")
        return None
    if settings.tune == "auto" and not is_pretrained(settings):
        return None
    tune = settings.tune
    if tune == "auto":
        tune = "all" if epochs >= LEAST_EPOCHS else "head"
    tuned_blocks(tune, find_blocks(model.module, model.heads), name=model.name)
    means = settings.head is not None and settings.head.kind == "prototype"  # of the features, whatever their network
    probe = means or settings.weights == "pretrained"
    return FineTune(tune, FITTED_HEAD_FACTOR if probe else NEW_HEAD_FACTOR, _DECAY, probe=probe)
