"""Filter pruning of ResNet-20: clusters of filters, or of the kernels within filters."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

_KERNELS = 3  # clusters


def given_network(weights: Path, classes: tuple[str, ...], name: str = "resnet20") -> Any:
    """Return ResNet-20, or the network of this name, with the published weights for CIFAR-10, by Yerlan Idelbayev."""
    from shoestring.models import Preprocessing, build

    size = Preprocessing(32, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return build(name, classes=classes, preprocessing=size, weights=str(weights))


def measure_filters(model: Any, data: Any, settings: dict[str, Any], context: Any) -> dict[str, Any]:
    """Return the test accuracy of a clustered copy of the model, in all and by class.

    `settings` are those of `shoestring.prune`, with `epochs` of training afterwards (none: it is not trained);
    {"kernels": "one"} or "all" clusters the kernels within filters instead.
    """
    from shoestring import Budget, evaluate, prune
    from shoestring.evaluation.cost import count_macs

    settings = dict(settings)
    epochs = settings.pop("epochs", None)
    if "kernels" in settings:
        pruned = cluster_kernels(model, only=1 if settings["kernels"] == "one" else None, seed=context.seed)
    elif settings:
        budget = None if epochs is None else Budget(epochs=epochs, steps=("prune",))
        pruned = prune(model, data.train, budget=budget, context=context, **settings)
    else:
        pruned = model
    metrics = evaluate(pruned, data.test)
    return {
        "accuracy": metrics.accuracy,
        "interval": metrics.interval,
        "per_class": {entry.name: entry.recall for entry in metrics.per_class},
        "macs": count_macs(pruned),
        "params": sum(weight.numel() for weight in pruned.module.parameters()),
        "epochs": epochs or 0,
    }


@torch.no_grad()
def cluster_kernels(model: Any, *, only: int | None, seed: int = 0) -> Any:
    """Return a copy of the model in which the kernels within each filter are the means of three clusters.

    With `only`, just the filter of this number of each convolution is changed.
    """
    from shoestring.pruning.clustering.algorithms import cluster_rows

    module = copy.deepcopy(model.module)
    for layer in module.modules():
        if isinstance(layer, torch.nn.Conv2d):
            for number in range(len(layer.weight)) if only is None else [only]:
                kernels = layer.weight[number].flatten(1).double().cpu().numpy()
                clusters = cluster_rows(kernels, _KERNELS, "kmeans", seed=seed)
                means = np.stack([kernels[clusters == cluster].mean(0) for cluster in clusters])
                layer.weight[number] = torch.from_numpy(means).view_as(layer.weight[number]).to(layer.weight)
    return replace(model, module=module)
