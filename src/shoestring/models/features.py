"""Features of a network, computed once for each image and kept in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shoestring.data.cache import cache_root, cache_write_errors
from shoestring.data.images import Images
from shoestring.models.heads import head_module
from shoestring.models.layers import tensors
from shoestring.models.model import Model
from shoestring.runtime.files import atomic_write


def cached_features(
    model: Model, images: Images, compute: Callable[[], NDArray[np.float32]], *, variant: str = ""
) -> NDArray[np.float32]:
    """Return the features (N, D) of images, as a memory map of a file in the cache; computed if they are not there.

    If only those of the first images are computed, as time is short, these are returned, and not kept.

    The file depends on the images, on the tensors of the network except those of its head, on its preprocessing, and on
    the `variant` of the computation.
    """
    file = cache_root() / "features" / f"{_key(model, images, variant)}.npy"
    if not file.exists():
        features = compute()
        if len(features) < len(images):
            return features
        with cache_write_errors(file.parent), atomic_write(file) as temporary, temporary.open("wb") as out:
            np.save(out, features)
    return np.load(file, mmap_mode="r")


def are_cached(model: Model, images: Images, *, variant: str = "") -> bool:
    """Return whether the features of these images are in the cache."""
    return (cache_root() / "features" / f"{_key(model, images, variant)}.npy").exists()


def _key(model: Model, images: Images, variant: str) -> str:
    size = model.preprocessing
    inputs = (size.resolution, size.channels, size.mean, size.std, size.interpolation)
    options = {key: value for key, value in model.options.items() if key != "head"}
    digest = hashlib.blake2b(f"{model.name} {options} {inputs} {variant}".encode(), digest_size=12)
    digest.update(images.fingerprint.encode())
    own = {id(tensor) for tensor in tensors(head_module(model.module, model.heads)).values()}
    for name, tensor in tensors(model.module).items():
        if name not in model.heads and id(tensor) not in own:
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
