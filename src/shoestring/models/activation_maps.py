"""Where a network looks: class activation maps of any network that has feature maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from shoestring.data.images import Images
from shoestring.models.head_modules import class_scores
from shoestring.models.model import Model
from shoestring.runtime.device import eval_mode


def activation_maps(model: Model, images: Images, targets: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """Return where a network finds evidence for classes: maps (N, T, H, W) from 0 to 1, of the size of the images.

    `targets` (N, T) are the indices of T classes for each image. A map is the last feature map before global pooling,
    its channels weighted by the mean gradient of the class's logit and negative sums set to zero (Grad-CAM, Selvaraju
    et al. 2017). Return None for networks without feature maps, such as vision transformers.
    """
    device = next(model.module.parameters()).device
    with eval_mode(model.module), torch.enable_grad():
        batch = model.prepare(torch.from_numpy(images.pixels).to(device))
        last = _last_feature_map(model.module, batch[:1])
        if last is None:
            return None
        maps = _maps(model.module, batch, last, torch.from_numpy(targets).to(device))
    resized = functional.interpolate(maps, size=images.shape[:2], mode="bilinear", align_corners=False)
    return resized.cpu().numpy()


def _maps(module: nn.Module, batch: Tensor, last: int, targets: Tensor) -> Tensor:
    """Return the maps (N, T, h, w) of the classes, from the output number `last` of the network's modules."""
    leaves: list[Tensor] = []

    def replace(number: int, output: Any) -> Any:
        if number != last:
            return output
        leaves.append(output.detach().requires_grad_())
        return leaves[0].clone()  # which later modules may change in place

    with _on_outputs(module, replace):
        logits = class_scores(module(batch))
    [features] = leaves
    maps = []
    for column in targets.unbind(1):
        score = logits.gather(1, column[:, None]).sum()
        [gradients] = torch.autograd.grad(score, features, retain_graph=True)
        values, slopes = (_channels_first(tensor.detach()).float() for tensor in (features, gradients))
        maps.append(functional.relu((values * slopes.mean((2, 3), keepdim=True)).sum(1)))
    stacked = torch.stack(maps, 1)
    return stacked / stacked.amax((2, 3), keepdim=True).clamp_min(torch.finfo(stacked.dtype).tiny)


@torch.no_grad()
def _last_feature_map(module: nn.Module, image: Tensor) -> int | None:
    """Return the number of the last output of a module that is a feature map of more than one position."""
    found: list[int] = []

    def look(number: int, output: Any) -> Any:
        if isinstance(output, Tensor) and output.ndim == 4 and _channels_first(output).shape[2] > 1:
            found.append(number)
        return output

    with _on_outputs(module, look):
        module(image)
    return found[-1] if found else None


def _channels_first(features: Tensor) -> Tensor:
    """Return square feature maps as (N, C, H, W); some networks have channels last."""
    last = features.shape[2] != features.shape[3] and features.shape[1] == features.shape[2]
    return features.permute(0, 3, 1, 2) if last else features


@contextmanager
def _on_outputs(module: nn.Module, function: Callable[[int, Any], Any]) -> Iterator[None]:
    """Replace the outputs of all modules inside the block by `function(number, output)`, numbered as they are made."""
    numbers = iter(range(10**9))

    def hook(function: Callable[[int, Any], Any], part: nn.Module, inputs: Any, output: Any) -> Any:
        return function(next(numbers), output)

    handles = [part.register_forward_hook(partial(hook, function)) for part in module.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
