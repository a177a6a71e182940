"""The rows of benchmarks/origins.py: recipes with flags, and the accuracies that were published for them in percent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CPU, GPU = 0, 1
HOUR, HALF_HOUR, FIVE_MINUTES, TEN_MINUTES = ("1h", "20s"), ("30m", "10s"), ("5m", "15s"), ("10m", "15s")
LONG, HALF_LONG = ("3h", "40s"), ("90m", "20s")


@dataclass(frozen=True)
class Arm:
    """A row: a recipe with flags, and the accuracy that was published for it, in percent.

    Without a recipe, the flags and the defaults of `shoestring run` are the whole recipe. `times` are the time budgets
    on a CPU and on a large GPU, in place of epochs. `data` names other images than those of the recipe. A row that is
    the same as another one, `twin`, where another network takes the place of those of timm, is measured only without.
    """

    origin: str
    recipe: str | None
    name: str
    published: float | None = None
    flags: tuple[str, ...] = ()
    data: str | None = None
    times: tuple[str, str] | None = None
    verb: str = "run"
    twin: str | None = None


def _progressive(data: str, published: tuple[float, float], full: tuple[str, str], half: tuple[str, str]) -> list[Arm]:
    def arm(name: str, accuracy: float | None, times: tuple[str, str], *flags: str) -> Arm:
        return Arm("progressive", "progressive", name, accuracy, flags, data, times)

    return [
        arm("conventional, full time", published[0], full, "--grow", "constant"),
        arm("annealed, half the time", None, half, "--grow", "constant"),
        arm("grown, half the time", published[1], half),
        arm("auto, half the time", None, half, "--grow", "auto"),
        Arm("progressive", None, BEST, None, (), data, half),
    ]


BEST = "best"
HARDEST, ALL, HEAD = ("--select.order", "hardest"), ("--tune", "all"), ("--tune", "head")
RESNET18 = (*ALL, "--model", "timm:resnet18")
MILD = ("--flip", "--shift", "0.125")  # augmentation
ARMS = (
    Arm("coreset", "coreset", "reverse forgetting, frozen", 68.3),
    Arm("coreset", "coreset", "reverse forgetting", 66.0, ALL),
    Arm("coreset", "coreset", "forgetting", 34.8, (*ALL, *HARDEST)),
    Arm("coreset", "coreset", "random", 60.5, (*ALL, "--select", "random")),
    Arm("coreset", "coreset", "forgetting, frozen", None, HARDEST),
    Arm("coreset", "coreset", "random, frozen", None, ("--select", "random")),
    Arm("coreset", "coreset", "reverse forgetting, dropout", None, (*ALL, "--dropout", "0.5")),
    Arm("coreset", "coreset", "reverse forgetting, ResNet-18", None, RESNET18, twin="reverse forgetting"),
    Arm("coreset", "coreset", "reverse forgetting, from scratch", None, ("--weights", "none", "--tune", "auto")),
    Arm("coreset", None, BEST, None, ("--examples", "1000"), "cifar10", FIVE_MINUTES),
    Arm("mini", "mini-simple", "VGG-8", 38.5),
    Arm("mini", "mini-simple", "VGG-8, augmented", None, MILD),
    Arm("mini", "mini-simple", "VGG-8, annealed selection", None, ("--select.search", "annealing")),
    Arm("mini", "mini-simple", "VGG-16", None, ("--model", "vgg16", "--norm")),
    Arm("mini", "mini-simple", "ResNet-18", None, ("--model", "resnet18", "--norm")),
    Arm("mini", "mini-advanced", "VGG-8, SGD", 48.1),
    Arm("mini", "mini-advanced", "VGG-8, AdamW", None, ("--optimizer", "adamw", "--learning-rate", "0.001")),
    Arm("mini", "mini-two-outputs", "VGG-8, two outputs"),
    Arm("mini", None, BEST, None, ("--examples", "1000", "--weights", "none"), "cifar10", TEN_MINUTES),
    *_progressive("cifar10", (94.2, 93.5), HOUR, HALF_HOUR),
    *_progressive("cifar100", (74.4, 73.5), HOUR, HALF_HOUR),
    *_progressive("fashionmnist", (95.2, 95.2), HOUR, HALF_HOUR),
    *_progressive("tinyimagenet", (61.9, 61.8), LONG, HALF_LONG),
    Arm("scenes", "scenes-cnn", "simple CNN", 74.0),
    Arm("scenes", "scenes-densenet121", "DenseNet-121, frozen", 89.0),
    Arm("scenes", "scenes-densenet121", "DenseNet-121, one block trained", 92.0, ("--tune", "denseblock3")),
    Arm("scenes", "scenes-resnet18", "ResNet-18, frozen", 87.0, HEAD, twin="DenseNet-121, frozen"),
    Arm("scenes", "scenes-resnet18", "ResNet-18, one block trained", 92.0, twin="DenseNet-121, one block trained"),
    Arm("scenes", "scenes-tickets", "lottery tickets", None, verb="tickets"),
    Arm("scenes", None, BEST, None, (), "scenes", FIVE_MINUTES),
)

# Filters of a trained ResNet-20, clustered: what is published is the mean over classes after clustering, without
# training. Its script clusters the kernels of one filter of each convolution, and leaves the other filters.
UNPRUNED, ONE_FILTER, EVERY_FILTER = "not pruned", "kernels of one filter, 3 clusters", "kernels of each filter"
SHARED, TRAINED = "filters shared, 3 clusters", "filters shared, 3 clusters, then trained"
LAYERS = "conv1=8,layer1=8,layer2=16,layer3=32"
FILTERS: dict[str, dict[str, Any]] = {
    UNPRUNED: {},
    ONE_FILTER: {"kernels": "one"},
    EVERY_FILTER: {"kernels": "all"},
    SHARED: {"clusters": 3, "cluster_outcome": "share", "cluster_features": "weights"},
    TRAINED: {"clusters": 3, "cluster_outcome": "share", "cluster_features": "weights", "epochs": 10},
    "filters merged, 3 clusters, then trained": {"clusters": 3, "epochs": 10},
    "filters shared by layer, then trained": {"clusters": LAYERS, "cluster_outcome": "share", "epochs": 10},
    "filters merged by layer, then trained": {"clusters": LAYERS, "epochs": 10},
    "the same, cosine": {"clusters": LAYERS, "cluster_metric": "cosine", "epochs": 10},
    "the same, correlation": {"clusters": LAYERS, "cluster_metric": "correlation", "epochs": 10},
    "the same, activations": {"clusters": LAYERS, "cluster_features": "activations", "epochs": 10},
    "half of the MACs by importance, then trained": {"macs": 0.5, "epochs": 10},
}
PUBLISHED_FILTERS = {UNPRUNED: 81.0, ONE_FILTER: 79.2}
# class of CIFAR-10 -> accuracy before and change after, in percent
PUBLISHED_CLASSES = {
    "airplane": (79, 2),
    "automobile": (92, -1),
    "bird": (74, -3),
    "cat": (57, -3),
    "deer": (75, -4),
    "dog": (82, -2),
    "frog": (86, 0),
    "horse": (87, -4),
    "ship": (91, -2),
    "truck": (87, -1),
}
