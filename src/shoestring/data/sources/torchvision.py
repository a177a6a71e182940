"""The labelled image sets that torchvision downloads."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

from shoestring.data.cache import cache_root
from shoestring.data.listing import SAMPLE, Item, Items, Listing, Source, spread
from shoestring.errors import UserError, unknown

_FLAG = {"train": {"train": True}, "test": {"train": False}}
_TWO = {"train": {"split": "train"}, "test": {"split": "test"}}
_THREE = {"train": {"split": "train"}, "validation": {"split": "val"}, "test": {"split": "test"}}
_WHOLE: dict[str, dict[str, Any]] = {"train": {}}


class _Known(NamedTuple):
    """torchvision's class, the arguments that give each split, and the class count where it has no names."""

    builder: str
    splits: dict[str, dict[str, Any]]
    unnamed: int = 0


_KNOWN = {
    "caltech101": _Known("Caltech101", _WHOLE),
    "caltech256": _Known("Caltech256", _WHOLE),
    "cifar10": _Known("CIFAR10", _FLAG),
    "cifar100": _Known("CIFAR100", _FLAG),
    "dtd": _Known("DTD", _THREE),
    "emnist": _Known("EMNIST", {name: {"split": "balanced", **flag} for name, flag in _FLAG.items()}),
    "eurosat": _Known("EuroSAT", _WHOLE),
    "fashionmnist": _Known("FashionMNIST", _FLAG),
    "fgvcaircraft": _Known("FGVCAircraft", _THREE),
    "flowers102": _Known("Flowers102", _THREE, 102),
    "food101": _Known("Food101", _TWO),
    "gtsrb": _Known("GTSRB", _TWO, 43),
    "imagenette": _Known("Imagenette", {"train": {"split": "train"}, "test": {"split": "val"}}),
    "kmnist": _Known("KMNIST", _FLAG),
    "mnist": _Known("MNIST", _FLAG),
    "oxfordiiitpet": _Known("OxfordIIITPet", {"train": {"split": "trainval"}, "test": {"split": "test"}}),
    "qmnist": _Known("QMNIST", _FLAG),
    "stl10": _Known("STL10", _TWO),
    "sun397": _Known("SUN397", _WHOLE),
    "svhn": _Known("SVHN", _TWO, 10),
    "usps": _Known("USPS", _FLAG, 10),
}
NAMES = tuple(_KNOWN)
_TIMEOUT = 30.0  # seconds that a server may keep a download waiting


def torchvision(where: str) -> Source:
    """A data set that torchvision downloads, such as cifar10 or flowers102; the files are kept in the cache folder."""
    if where not in _KNOWN:
        raise unknown("torchvision data set", where, _KNOWN)
    return Source(where, f"torchvision:{where}", "1", lambda: _read(where))


def _read(name: str) -> Listing:
    known = _KNOWN[name]
    splits = {split: _download(name, known.builder, options) for split, options in known.splits.items()}
    size = sum(len(split) for split in splits.values())
    train = splits["train"]
    items = {key: _items(name, key, split, range(len(split))) for key, split in splits.items()}
    sample = _items(name, "train", train, spread(len(train), SAMPLE))
    return Listing(_classes(train, known), items, size, sample=sample)


def _download(name: str, builder: str, options: dict[str, Any]) -> Any:
    from torchvision import datasets

    root, before = cache_root() / "downloads" / name, socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)  # torchvision sets none
    try:
        root.mkdir(parents=True, exist_ok=True)
        return getattr(datasets, builder)(root, download=True, **options)
    except (OSError, RuntimeError) as error:  # no network, no room, a file that is not what it should be
        reason = " ".join(str(error).split())
        raise UserError(
            f"cannot download {name} to {root}: {reason}. Is there a network, and room on the disk?"
        ) from None
    finally:
        socket.setdefaulttimeout(before)


def _classes(train: Any, known: _Known) -> tuple[str, ...]:
    names = getattr(train, "classes", None) or getattr(train, "categories", None) or range(known.unnamed)
    return tuple(name[0] if isinstance(name, tuple) else str(name) for name in names)  # synonyms: the first


def _items(name: str, split: str, images: Any, indices: range) -> Items:
    def items() -> Iterator[Item]:
        for index in indices:
            try:
                image, label = images[index]
            except Exception as error:  # torchvision decodes itself, and readers of images raise a dozen kinds
                reason = " ".join(str(error).split()) or type(error).__name__
                where = cache_root() / "downloads" / name
                raise UserError(
                    f"cannot read image {index} of the {split} split of {name}: {reason}. Remove {where}, to download "
                    "it again."
                ) from None
            yield Item(image, int(label), f"{split}/{index:05d}")

    return items
