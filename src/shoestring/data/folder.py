"""A folder of class folders, as photos are usually kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from shoestring.data.listing import Item, Items, Listing, Source, files_key
from shoestring.errors import UserError, unknown

# names of the folders of splits, in any case; "valid" may be a class, beside "invalid"
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing"),
}
_NO_CLASS = ("train", "training", "validation", "val", "test", "testing")
_SYSTEM = ("thumbs.db", "desktop.ini")  # left by file managers; hidden files are passed over as well

ByClass = dict[str, list[str]]  # class name -> paths, both sorted; text, because many Path objects are slow


def folder(where: str) -> Source:
    """A folder with one folder of images for each class, with or without `train`, `val` and `test` above them.

    Images may lie deeper inside a class folder. Hidden files are passed over; every other file has to be an image.
    """
    root = Path(where).expanduser().resolve()
    if not root.is_dir():
        raise UserError(f"no folder {where}: expected one with a folder of images for each class.")
    splits, notes = _find(root)
    classes = tuple(splits["train"])
    files = [file for by_class in splits.values() for paths in by_class.values() for file in paths]

    def read() -> Listing:
        items = {name: _items(root, by_class, classes) for name, by_class in splits.items()}
        return Listing(classes, items, len(files), notes)

    return Source(root.name, str(root), files_key(files), read)


def unlabelled(path: str) -> Source:
    """All images in a folder, however deep, or in its folder `train` when it has one; no class is told."""
    root = Path(path).expanduser().resolve()
    top = next(iter(_places(root, _SPLITS["train"])), root)
    files = _files(top)
    if not files:
        raise UserError(f"no images in {top}.")
    by_class = {"": files}
    return Source(root.name, f"{root} without labels", files_key(files), lambda: _listing(root, by_class, len(files)))


def _listing(root: Path, by_class: ByClass, size: int) -> Listing:
    classes = tuple(by_class)
    return Listing(classes, {"train": _items(root, by_class, classes)}, size)


def _find(root: Path) -> tuple[dict[str, ByClass], tuple[str, ...]]:
    """The files of every split, whose classes fit together, and notes."""
    places = {name: _places(root, names) for name, names in _SPLITS.items()}
    if not places["train"]:
        train = _by_class(root)
        _check_train(root, train)
        if stray := [name for name in train if name.lower() in _NO_CLASS]:
            raise UserError(f"{root} has {', '.join(stray)} but no train folder: put training images in {root}/train.")
        return {"train": train}, ()
    place = places.pop("train")[0]
    splits, notes = {"train": _by_class(place)}, []
    _check_train(place, splits["train"])
    for name, found_in in places.items():
        for place in found_in:
            found = _by_class(place)
            if not any(found.values()):
                notes.append(f"{place} has no class folders with images: without labels it is not used.")
                continue
            for stray in sorted(found.keys() - splits["train"].keys()):
                raise unknown(
                    f"class in {place.name}", stray, splits["train"], hint="Classes are the folders in train."
                )
            splits[name] = found
    return splits, tuple(notes)


def _places(root: Path, names: tuple[str, ...]) -> list[Path]:
    """Folders of these names, however they are capitalised, the first name first."""
    with os.scandir(root) as entries:
        found = [entry.name for entry in entries if entry.is_dir() and entry.name.lower() in names]
    return [root / name for name in sorted(found, key=lambda name: names.index(name.lower()))]


def _check_train(place: Path, train: ByClass) -> None:
    if not train:
        raise UserError(f"no class folders in {place}: expected one folder of images for each class.")
    for name, files in train.items():
        if not files:
            raise UserError(f"the class folder '{name}' in {place} has no images: add some, or remove the folder.")


def _by_class(root: Path) -> ByClass:
    with os.scandir(root) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    return {name: _files(root / name) for name in names}


def _files(top: Path) -> list[str]:
    found = []
    for place, folders, files in os.walk(top):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names = [name for name in files if not name.startswith(".") and name.lower() not in _SYSTEM]
        found += [f"{place}{os.sep}{name}" for name in names]
    return sorted(found)


def _items(root: Path, by_class: ByClass, classes: tuple[str, ...]) -> Items:
    def items() -> Iterator[Item]:
        for name, files in by_class.items():
            label = classes.index(name)
            for file in map(Path, files):
                yield Item(file, label, file.relative_to(root).as_posix())

    return items
