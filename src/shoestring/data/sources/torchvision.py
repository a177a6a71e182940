"""Labeled image data sets that torchvision downloads."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

from shoestring.data.cache import cache_root
from shoestring.data.listing import SAMPLE_SIZE, Item, Items, Listing, Source, evenly_spaced
from shoestring.errors import UserError, unknown

_FLAG = {"train": {"train": True}, "test": {"train": False}}
_TWO = {"train": {"split": "train"}, "test": {"split": "test"}}
_THREE = {"train": {"split": "train"}, "validation": {"split": "val"}, "test": {"split": "test"}}
_WHOLE: dict[str, dict[str, Any]] = {"train": {}}


class _DataSet(NamedTuple):
    """torchvision's class, its arguments for each split, and the number of classes if they have no names."""

    builder: str
    splits: dict[str, dict[str, Any]]
    unnamed_classes: int = 0


_KNOWN = {
    "caltech101": _DataSet("Caltech101", _WHOLE),
    "caltech256": _DataSet("Caltech256", _WHOLE),
    "cifar10": _DataSet("CIFAR10", _FLAG),
    "cifar100": _DataSet("CIFAR100", _FLAG),
    "dtd": _DataSet("DTD", _THREE),
    "emnist": _DataSet("EMNIST", {name: {"split": "balanced", **flag} for name, flag in _FLAG.items()}),
    "eurosat": _DataSet("EuroSAT", _WHOLE),
    "fashionmnist": _DataSet("FashionMNIST", _FLAG),
    "fgvcaircraft": _DataSet("FGVCAircraft", _THREE),
    "flowers102": _DataSet("Flowers102", _THREE, 102),
    "food101": _DataSet("Food101", _TWO),
    "gtsrb": _DataSet("GTSRB", _TWO, 43),
    "imagenette": _DataSet("Imagenette", {"train": {"split": "train"}, "test": {"split": "val"}}),
    "kmnist": _DataSet("KMNIST", _FLAG),
    "mnist": _DataSet("MNIST", _FLAG),
    "oxfordiiitpet": _DataSet("OxfordIIITPet", {"train": {"split": "trainval"}, "test": {"split": "test"}}),
    "qmnist": _DataSet("QMNIST", _FLAG),
    "stl10": _DataSet("STL10", _TWO),
    "sun397": _DataSet("SUN397", _WHOLE),
    "svhn": _DataSet("SVHN", _TWO, 10),
    "usps": _DataSet("USPS", _FLAG, 10),
}
NAMES = tuple(_KNOWN)
_TIMEOUT = 30.0  # seconds without a response of the server


def torchvision(where: str) -> Source:
    """A data set that torchvision downloads into the cache folder, such as cifar10 or flowers102."""
    if where not in _KNOWN:
        raise unknown("torchvision data set", where, _KNOWN)
    return Source(where, f"torchvision:{where}", "1", lambda: _read(where))


def _read(name: str) -> Listing:
    data_set = _KNOWN[name]
    splits = {split: _download(name, data_set.builder, kwargs) for split, kwargs in data_set.splits.items()}
    size = sum(len(split) for split in splits.values())
    train = splits["train"]
    items = {key: _items(name, key, split, range(len(split))) for key, split in splits.items()}
    sample = _items(name, "train", train, evenly_spaced(len(train), SAMPLE_SIZE))
    return Listing(_classes(train, data_set), items, size, sample=sample)


def _download(name: str, builder: str, kwargs: dict[str, Any]) -> Any:
    from torchvision import datasets

    root, before = cache_root() / "downloads" / name, socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)  # torchvision sets none
    try:
        root.mkdir(parents=True, exist_ok=True)
        return getattr(datasets, builder)(root, download=True, **kwargs)
    except (OSError, RuntimeError) as error:  # no network, no disk space, a damaged file
        reason = " ".join(str(error).split())
        raise UserError(
            f"cannot download {name} to {root}: {reason}. Check the network connection and the free disk space."
        ) from None
    finally:
        socket.setdefaulttimeout(before)


def _classes(train: Any, data_set: _DataSet) -> tuple[str, ...]:
    names = getattr(train, "classes", None) or getattr(train, "categories", None) or range(data_set.unnamed_classes)
    return tuple(name[0] if isinstance(name, tuple) else str(name) for name in names)  # the first of synonyms


def _items(name: str, split: str, images: Any, indices: range) -> Items:
    def items() -> Iterator[Item]:
        for index in indices:
            try:
                image, label = images[index]
            except Exception as error:  # torchvision decodes images itself, which raises a dozen kinds
                reason = " ".join(str(error).split()) or type(error).__name__
                where = cache_root() / "downloads" / name
                raise UserError(
                    f"cannot read image {index} of the {split} split of {name}: {reason}. Remove {where} to download "
                    "it again."
                ) from None
            yield Item(image, int(label), f"{split}/{index:05d}")

    return items
