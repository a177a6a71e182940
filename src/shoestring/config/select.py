"""The settings of a selection: a section of the recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from shoestring.config import paths
from shoestring.config.balance import Balance, parse_balance
from shoestring.config.difficulty import Difficulty
from shoestring.config.fields import Section, option, path


@dataclass(frozen=True)
class Select(Section):
    """Selection of training images."""

    method: str = option(
        "selection method, see `shoestring list select`; auto: the best method in our benchmarks for this setting",
        "auto",
    )
    examples: int | None = option("number of training images to use (default: all)", ge=1)
    balance: Balance = option(
        "images per class: equal, proportional (as in the data), none, or counts such as cat=50,dog=20",
        "equal",
        parse=parse_balance,
    )
    within: Difficulty | None = option(
        "select only from a fraction of the images: easiest:0.2, hardest:0.1 or middle:0.5", parse=Difficulty.parse
    )
    learner: Literal["auto", "scratch", "features"] = option(
        "model you will train on the subset, a network from scratch or a head on pretrained features; used only if the "
        "method is auto",
        "auto",
    )
    features: str | None = path(
        "features for comparing images: a model or run folder, timm:NAME with its pretrained weights, or a .npy file "
        "with one row per image (default: features of the proxy model)",
        paths.features,
    )
    signals: str | None = path("file (.npz) of the proxy model's training signals: read if it exists, else written")
    drop_duplicates: bool = option("first exclude near duplicates, except one of each group", False)
    drop_suspects: bool = option(
        "first exclude likely label errors: images whose label the proxy model confidently contradicts", False
    )
    already: str | None = path("earlier subset (or run) to extend; its images are kept and count toward --examples")
    subset: str | None = path(
        "subset to use instead of selecting one: a subset.json, a run, or a list of indices into the train split "
        "(.npy or JSON)"
    )
    proxy: str = option(
        "network that is trained for features and training signals, like --model; auto: a small convnet", "auto"
    )
    proxy_weights: str | None = path(
        "initial weights of the proxy, like --weights: pretrained (the default for timm models that have any), none, a "
        ".safetensors file, or a run",
        paths.weights,
    )
    proxy_tune: str = option("blocks of a pretrained proxy to train, like --tune: head for a frozen one", "auto")
    proxy_epochs: float | None = option(
        "epochs that the proxy is trained for, which a budget in epochs or FLOPs does not count (default: as many as "
        "the part of the budget for the selection allows)",
        gt=0,
    )
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def requests_proxy(self) -> bool:
        """Whether the recipe sets which proxy is trained, or how."""
        return self.proxy != "auto" or self.proxy_weights is not None or self.proxy_epochs is not None
