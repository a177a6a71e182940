"""The model "auto": a pretrained network where that wins, otherwise a network from scratch."""

from __future__ import annotations

from dataclasses import replace

from shoestring.config.plan import TRAINING_FLOPS_PER_MAC
from shoestring.config.recipe import Recipe, Train
from shoestring.data.images import Images
from shoestring.models import timm
from shoestring.models.backbones import BACKBONES, Backbone
from shoestring.planning.defaults import default_batch_size
from shoestring.planning.model import build_network, choose_network
from shoestring.planning.plan import Allotment
from shoestring.planning.pretrained import SIDES, is_open
from shoestring.planning.profiling import Profiler

_MIN_SIDE = 32  # pixels of images from which features of photos help
_PHOTO_SIDE = 64  # pixels of images from which a head on pretrained features beats a network from scratch
_MAX_IMAGES = 10_000  # smaller images than that, if the budget is not a time
_MIN_EPOCHS = 0.5  # of fine-tuning, from which a pretrained network is better on smaller images
_LICENSES = ("Apache-2.0", "MIT", "BSD-3-Clause")  # of weights that "auto" uses


def choose_backbone(recipe: Recipe, images: Images, allotment: Allotment, profiler: Profiler) -> tuple[Train, str]:
    """Return the settings with a pretrained network if the model is "auto" and that is better, and the reason.

    `allotment` is the part of the budget for training. Features of photos are useless for tiny images. For small ones,
    fine-tuning needs time; for larger ones, even a head on frozen features beats a network trained from scratch.
    """
    settings, side = recipe.train, images.shape[0]
    if not is_open(recipe):
        return settings, "as requested"
    if side < _MIN_SIDE:
        return settings, f"pretrained networks know photos, not images of {side} x {side} pixels"
    backbone = _at_hand()
    if backbone is None:
        return settings, "no pretrained weights are installed"
    pretrained = replace(settings, model=timm.PREFIX + backbone.name, weights="pretrained")
    if side >= _PHOTO_SIDE:
        return pretrained, "photos like those that it was trained on"
    if profiler.budget.unit == "epochs":
        few = allotment.count <= _MAX_IMAGES
        return (pretrained, "few images") if few else (settings, f"there are {allotment.count:,} small images")
    epochs = _epochs(pretrained, backbone, images, allotment, profiler)
    if epochs < _MIN_EPOCHS:
        return settings, f"there is time to fine-tune a pretrained network for only {epochs:.2f} epochs"
    return pretrained, f"there is time to fine-tune it for {epochs:.1f} epochs"


def _at_hand() -> Backbone | None:
    """The best backbone whose weights come with an installed package."""
    return next((one for one in BACKBONES if one.installed and one.license in _LICENSES), None)


def _epochs(settings: Train, backbone: Backbone, images: Images, allotment: Allotment, profiler: Profiler) -> float:
    """Number of epochs that the whole network can be fine-tuned for, with its smallest input."""
    network = choose_network(images, settings, count=allotment.count, seconds=None, profiler=profiler)
    if profiler.budget.unit == "flops":
        side = network.side or images.shape[0]
        flops = TRAINING_FLOPS_PER_MAC * backbone.macs * (side / backbone.side) ** 2
        return allotment.length / flops / allotment.count
    model = build_network(replace(network, side=SIDES[0]), images, settings, seed=profiler.context.seed)
    size = settings.batch_size or default_batch_size(allotment.count, profiler.context.device)
    return allotment.length / profiler(model, images, settings, batch_size=size).times.train / allotment.count
