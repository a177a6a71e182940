"""Sections of the recipe that change the size of the network: growth and pruning."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Literal

from shoestring.config.clusters import Clusters
from shoestring.config.fields import Section, option
from shoestring.config.keep_channels import KeepChannels, parse_keep_channels
from shoestring.config.stages import Stages
from shoestring.config.units import Duration, Size
from shoestring.errors import UserError

TARGETS = ("macs", "params", "file_size", "latency", "keep_channels")


@dataclass(frozen=True)
class Grow(Section):
    """Progressive resizing and network growth."""

    method: str = option(
        "growth schedule, see `shoestring list grow`, or several, comma-separated; auto grows the network only if it "
        "is too large for the time budget",
        "auto",
    )
    stages: Stages | None = option(
        "explicit stages instead, as WIDTH@RESOLUTION or WIDTH@RESOLUTION@DEPTH, optionally followed by :FRACTION of "
        "the training: 0.5@0.5,1@0.75@0.5:0.3,1@1",
        parse=Stages.parse,
    )
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def is_auto(self) -> bool:
        """Whether the schedule is left open."""
        return self.method == "auto" and self.stages is None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stages is not None and (self.method != "auto" or self.options):
            raise UserError("--stages replaces growth schedules: omit --grow and its options.")
        if self.method == "auto" and self.options:
            raise UserError(f"'{next(iter(self.options))}' is an option of a growth schedule: name one with --grow.")


@dataclass(frozen=True)
class Prune(Section):
    """Pruning method and target size."""

    method: str = option(
        "criterion that ranks channels for removal, see `shoestring list prune`; auto uses greedy",
        "auto",
    )
    macs: Size | None = option(
        "target for the MACs of one forward pass: a fraction (0.5) or a number (20M)",
        parse=partial(Size.parse, what="--macs"),
    )
    params: Size | None = option(
        "target for the number of parameters: a fraction (0.5) or a number (200k)",
        parse=partial(Size.parse, what="--params"),
    )
    file_size: Size | None = option(
        "target for the size of the model file, in float32: a fraction (0.5) or a size (300kB)",
        parse=partial(Size.parse_bytes, what="--file-size"),
    )
    latency: Duration | None = option(
        "target for the latency of one image in ONNX Runtime, on one thread of this machine: 2ms", parse=Duration
    )
    keep_channels: KeepChannels | None = option(
        "fraction of the channels to keep: of every layer (0.5), or by layer (conv1=0.75,layer2=0.5)",
        parse=parse_keep_channels,
    )
    scope: Literal["auto", "global", "uniform", "search"] = option(
        "how a target is divided among layers: channels of all layers compete by their scores (global), every layer "
        "loses the same fraction (uniform), or the predicted loss is least, by a scan of every layer (search); auto is "
        "global for a network that was trained before, and uniform for one trained from scratch in the same run",
        "auto",
    )
    compensate: bool = option(
        "refit the remaining weights by least squares to what the layers computed before, on training images", True
    )
    distil: bool = option(
        "fine-tune the smaller network on the predictions of the original one as well as on the labels", False
    )
    clusters: Clusters | None = option(
        "cluster similar filters instead of removing those with low scores: the number of clusters in every layer (3), "
        "numbers by layer (conv1=8,layer2=16), as few as lose at most a tenth of the differences between filters, over "
        "all layers (error=0.1), or auto: as many as the target size allows",
        parse=Clusters.parse,
    )
    cluster_outcome: Literal["merge", "share", "centripetal"] = option(
        "what becomes of a cluster: one channel, its mean (merge); equal filters in a network of the same size "
        "(share); or training pulls its filters together before they are merged (centripetal)",
        "merge",
    )
    cluster_method: Literal["kmeans", "agglomerative", "kmedoids"] = option("clustering algorithm", "kmeans")
    cluster_features: Literal["filters", "weights", "activations"] = option(
        "what is compared: filters with batch norms folded in, weights without them, or activations", "filters"
    )
    cluster_metric: Literal["euclidean", "cosine", "correlation"] = option("distance of filters", "euclidean")
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def has_target(self) -> bool:
        """Whether a target size is set."""
        return any(value is not None for value in self.targets.values())

    @property
    def enabled(self) -> bool:
        """Whether the network is pruned."""
        return self.has_target or self.clusters is not None

    @property
    def targets(self) -> dict[str, Any]:
        """The targets by name; None for those that are not set."""
        return {name: getattr(self, name) for name in TARGETS}

    @property
    def what(self) -> str:
        """The method in a few words."""
        return self.method if self.clusters is None else f"clusters: {self.clusters}, {self.cluster_outcome}"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clusters is None:
            _check_without_clusters(self)
        else:
            _check_clusters(self, self.clusters)
        if self.method == "auto" and self.options:
            raise UserError(f"'{next(iter(self.options))}' is an option of a pruning method: name the method as well.")


def _check_without_clusters(settings: Prune) -> None:
    for entry in fields(Prune):
        if entry.name.startswith("cluster_") and getattr(settings, entry.name) != entry.default:
            flag = entry.name.replace("_", "-")
            raise UserError(f"--{flag} has no effect without --clusters: set it, such as --clusters 3.")


def _check_clusters(settings: Prune, clusters: Clusters) -> None:
    if settings.method != "auto" or settings.options:
        extra = next(iter(settings.options), settings.method)
        raise UserError(f"--clusters groups filters instead of scoring them: omit the pruning method and '{extra}'.")
    if settings.scope not in ("auto", "global") or not settings.compensate:
        raise UserError("--scope and --no-compensate have no effect with --clusters: omit them.")
    if clusters.is_auto and settings.cluster_outcome == "share":
        raise UserError("share leaves the size as it is, so there is no target: give numbers, such as --clusters 3.")
    if clusters.is_auto and settings.macs is None and settings.params is None:
        raise UserError("--clusters auto needs a target size: set --macs or --params, or give numbers of clusters.")
    if settings.has_target and not clusters.is_auto:
        raise UserError(f"--clusters {clusters} sets the size already: omit --macs and --params, or use auto.")
    for name in ("file_size", "latency", "keep_channels"):
        if settings.targets[name] is not None:
            flag = name.replace("_", "-")
            raise UserError(f"--clusters auto has --macs and --params as its targets: omit --{flag}.")
