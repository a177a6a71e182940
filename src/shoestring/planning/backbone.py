"""The model "auto": a pretrained network where that wins, otherwise a network from scratch."""

from __future__ import annotations

import math
from dataclasses import replace

from shoestring.config.plan import TRAINING_FLOPS_PER_MAC
from shoestring.config.recipe import Recipe, Train
from shoestring.data.images import Images
from shoestring.models import timm
from shoestring.models.backbones import BACKBONES, Backbone
from shoestring.planning.model import Network, measured_times
from shoestring.planning.plan import Allotment
from shoestring.planning.pretrained import SIDES, is_open
from shoestring.planning.profiling import Profiler
from shoestring.planning.tuning import LEAST_EPOCHS
from shoestring.runtime.precision import cpu_flops

_MIN_SIDE = 32  # pixels of images from which features of photos help
_PHOTO_SIDE = 64  # pixels of images from which a head on pretrained features beats a network from scratch
_MAX_IMAGES = 10_000  # smaller images than that; a network from scratch learns more from more of them
_MIN_EPOCHS = 0.5  # of fine-tuning, from which a pretrained network is better on smaller images, if they are few
_MANY_EPOCHS = 20.0  # of fine-tuning with the smallest input, that a more expensive network must leave time for
# Bound on the FLOPs per second of training, relative to the product of two matrices; small networks reach far less.
_MAX_EFFICIENCY = 0.3
_LICENSES = ("Apache-2.0", "MIT", "BSD-3-Clause")  # of weights that "auto" uses


def choose_backbone(recipe: Recipe, images: Images, allotment: Allotment, profiler: Profiler) -> tuple[Train, str]:
    """Return the settings with a pretrained network if the model is "auto" and that is better, and the reason.

    `allotment` is the part of the budget for training. Features of photos are useless for tiny images. For small ones,
    fine-tuning needs time, and if they are many, that of all blocks; for larger ones, even a head on frozen features
    beats a network trained from scratch. Of the networks whose weights are on this machine, or may be downloaded, it is
    the best one that there is time for.
    """
    settings, side = recipe.train, images.shape[0]
    if not is_open(recipe):
        return settings, "as requested"
    if side < _MIN_SIDE:
        return settings, f"pretrained networks were trained on photos, not on images of {side} x {side} pixels"
    timed = profiler.budget.unit == "seconds"
    needed = _MIN_EPOCHS if allotment.count <= _MAX_IMAGES else LEAST_EPOCHS
    if side < _PHOTO_SIDE and timed and _most_epochs(settings, allotment, profiler) < needed:
        return settings, "there is no time to fine-tune a pretrained network"
    candidates = _candidates(download=settings.download)
    if not candidates:
        return settings, "no pretrained weights are installed: --download allows downloading some"
    at_hand = [one for one in candidates if _is_at_hand(one)]
    least = min(at_hand or candidates, key=_macs)  # which can be measured now
    if profiler.budget.unit == "epochs":
        few = side >= _PHOTO_SIDE or allotment.count <= _MAX_IMAGES
        return (_with(settings, least), "few images, or photos") if few else (settings, "many small images")
    if side >= _PHOTO_SIDE and len(candidates) == 1:
        return _with(settings, least), "photos like those that it was trained on"
    epochs = _epochs(_with(settings, least), least, images, allotment, profiler)
    if side < _PHOTO_SIDE and epochs < needed:
        return settings, f"there is time to fine-tune a pretrained network for only {epochs:.2f} epochs"
    better = candidates[: candidates.index(least)]
    best = next((one for one in better if epochs * _macs(least) / _macs(one) >= _MANY_EPOCHS), least)
    epochs *= _macs(least) / _macs(best)
    reason = f"the best there is time for: {epochs:.1f} epochs of fine-tuning with the smallest input"
    return _with(settings, best), reason


def _most_epochs(settings: Train, allotment: Allotment, profiler: Profiler) -> float:
    """Upper bound on the epochs of fine-tuning with any network, without importing timm, which takes seconds."""
    device, processes = profiler.context.device, profiler.context.rank_and_size[1]
    if not device.startswith("cpu"):
        return math.inf
    installed = [one for one in BACKBONES if one.installed and not settings.download]
    flops = TRAINING_FLOPS_PER_MAC * min(map(_macs, installed or BACKBONES)) * allotment.count
    return allotment.length * _MAX_EFFICIENCY * processes * cpu_flops() / flops


def _candidates(*, download: bool) -> list[Backbone]:
    """The backbones whose weights are on this machine, or also others, best first."""
    usable = [one for one in BACKBONES if one.license in _LICENSES]
    return usable if download else [one for one in usable if _is_at_hand(one)]


def _is_at_hand(backbone: Backbone) -> bool:
    return backbone.installed or backbone.weights == "cached"


def _with(settings: Train, backbone: Backbone) -> Train:
    return replace(settings, model=timm.PREFIX + backbone.name, weights="pretrained")


def _macs(backbone: Backbone) -> float:
    """MACs with the smallest input."""
    return backbone.macs if backbone.fixed else backbone.macs * (SIDES[0] / backbone.side) ** 2


def _epochs(settings: Train, backbone: Backbone, images: Images, allotment: Allotment, profiler: Profiler) -> float:
    """Number of epochs that the whole network can be fine-tuned for, with its smallest input, after its head."""
    if profiler.budget.unit == "flops":
        return allotment.length / (TRAINING_FLOPS_PER_MAC * _macs(backbone)) / allotment.count
    network = Network(settings.model, side=SIDES[0])
    times = measured_times(network, images, settings, count=allotment.count, profiler=profiler)
    return max(0.0, allotment.length / allotment.count - times.predict) / times.train
