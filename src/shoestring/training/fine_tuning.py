"""Fine-tuning: which weights of a pretrained network are trained, and at which learning rates."""

from __future__ import annotations

from torch import nn

from shoestring.config.plan import FineTune
from shoestring.models.blocks import HEAD, find_blocks, tuned_blocks
from shoestring.models.frozen_norms import freeze_norms
from shoestring.models.model import Model


def freeze(model: Model, fine_tune: FineTune | None) -> list[nn.Parameter]:
    """Freeze the weights that are not tuned, and keep batch norms in evaluation mode; return the frozen weights.

    Raises `UserError` if the setting names no block of the network.
    """
    if fine_tune is None:
        return []
    blocks = find_blocks(model.module, model.heads)
    tuned = {name for block in tuned_blocks(fine_tune.tune, blocks, name=model.name) for name in blocks[block]}
    frozen = []
    for name, weight in model.module.named_parameters():
        if name not in tuned and weight.requires_grad:
            weight.requires_grad_(False)
            frozen.append(weight)
    freeze_norms(model.module)
    return frozen


def rate_factors(model: Model, fine_tune: FineTune) -> dict[str, float]:
    """Return the learning rate of each weight by its name, relative to that of the last block before the head."""
    blocks = find_blocks(model.module, model.heads)
    body = [block for block in blocks if block != HEAD]
    factors = {block: fine_tune.decay ** (len(body) - 1 - place) for place, block in enumerate(body)}
    factors[HEAD] = fine_tune.head_factor
    return {name: factors[block] for block, names in blocks.items() for name in names}
