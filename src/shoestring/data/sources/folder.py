"""A folder of class folders, the usual layout of photos."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from shoestring.config.paths import expanded
from shoestring.data.formats import looks_like_an_image
from shoestring.data.listing import (
    SAMPLE_SIZE,
    Item,
    Items,
    Listing,
    Source,
    evenly_spaced,
    files_key,
    listed,
    normalized,
)
from shoestring.data.scan import entries, files_below, subfolders
from shoestring.errors import UserError, unknown

# names of split folders, case-insensitive; "valid" may be a class as well, beside "invalid"
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing"),
}
_NOT_A_CLASS = ("train", "training", "validation", "val", "test", "testing")

ByClass = dict[str, list[str]]  # class name -> paths, both sorted; strings, because Path objects are slow


class _Contents(NamedTuple):
    splits: dict[str, ByClass]
    notes: list[str]


def folder(where: str) -> Source:
    """A folder with one folder of images for each class, with or without `train`, `val` and `test` above them.

    Class folders are searched recursively, and links are followed. Hidden files are ignored.
    """
    root = expanded(where).resolve()
    if not root.is_dir():
        raise UserError(f"no folder {where}: expected one with a folder of images for each class.")
    splits, notes = _scan(root)
    classes = tuple(
        splits["train"] if "train" in splits else sorted({name for by_class in splits.values() for name in by_class})
    )
    files = [file for by_class in splits.values() for paths in by_class.values() for file in paths]
    without = f"{root} has {', '.join(splits)} but no train folder: put training images in {root}/train."

    def read() -> Listing:
        items = {name: _items(root, by_class, classes) for name, by_class in splits.items()}
        sample = _sample(root, next(iter(splits.values())).values())
        return Listing(classes, items, len(files), tuple(notes), sample, without)

    return Source(root.name, str(root), files_key(files), read)


def unlabeled_folder(path: str) -> Source:
    """All images below a folder, or below its folder `train` if it has one, without classes."""
    root = expanded(path).resolve()
    notes: list[str] = []
    train = _train_folder(root)
    if train is not None:
        _note_unused(root, [train], notes)
    top = root if train is None else root / train
    files = _files(top, notes)
    if not files:
        raise UserError(f"no images in {top}.")

    def read() -> Listing:
        by_folder: ByClass = {}
        for file in files:
            by_folder.setdefault(os.path.dirname(file), []).append(file)  # noqa: PTH120 - as above
        items = _items(root, {"": files}, ("",))
        return Listing(("",), {"train": items}, len(files), tuple(notes), _sample(root, by_folder.values()))

    return Source(root.name, f"{root} without labels", files_key(files), read)


def _scan(root: Path) -> _Contents:
    """Return the files of every split, with consistent classes, and notes."""
    notes: list[str] = []
    train = _train_folder(root)
    if train is None:
        names = subfolders(root)
        if not _only_splits(root, names):
            return _Contents({"train": _classes(root, names, notes)}, notes)
    split_folders = {split: name for split in SPLITS if (name := _split_folder(root, split))}
    _note_unused(root, split_folders.values(), notes)
    splits: dict[str, ByClass] = {}
    for split, name in split_folders.items():
        by_class = _by_class(root / name, notes)
        if split == "train":
            _check_train(root / name, by_class)
        elif not any(by_class.values()):
            notes.append(f"{root / name} has no class folders with images: without labels it is not used.")
            continue
        for extra in sorted(by_class.keys() - splits["train"].keys()) if "train" in splits else ():
            raise unknown(f"class in {name}", extra, splits["train"], hint="Classes are the folders in train.")
        splits[split] = by_class
    if not splits:
        raise UserError(f"no class folders in {root}: expected one folder of images for each class.")
    return _Contents(splits, notes)


def _classes(root: Path, names: list[str], notes: list[str]) -> ByClass:
    """Return the classes of a folder without splits; `train` may be one (the vehicle)."""
    splits = [name for name in names if name.lower() in _NOT_A_CLASS and not _is_class(root, name, names)]
    by_class = _by_class(root, notes)
    _check_train(root, by_class)
    if splits and _split_folder(root, "train"):
        problem = f"{root} has class folders, and {', '.join(splits)} beside them"
        raise UserError(f"{problem}: put the classes of each split below its folder, or give a class another name.")
    if splits:
        raise UserError(f"{root} has {', '.join(splits)} but no train folder: put training images in {root}/train.")
    return by_class


def _train_folder(root: Path) -> str | None:
    """Return the name of the folder of training images; None if there is none, or if it is a class of that name.

    With images of its own, beside other classes, `train` is a class. Raises `UserError` if `train` has subfolders and
    there are class folders beside it, which is ambiguous.
    """
    names = subfolders(root)
    train = _split_folder(root, "train")
    if train is None or _is_class(root, train, names):
        return None
    beside = [name for name in _not_splits(names) if _has_images(root / name)]
    if beside and not any(name.lower() in (*SPLITS["validation"], *SPLITS["test"]) for name in names):
        raise UserError(
            f"is {root / train} a class, like {listed(beside, 3)} beside it, or does it hold the classes? If it holds "
            f"them, give {root / train} as the data, or move the others away; if it is a class, give it another name."
        )
    return train


def _is_class(root: Path, name: str, names: list[str]) -> bool:
    """Whether a folder called `train` holds images like the classes beside it."""
    return name.lower() in SPLITS["train"] and bool(_not_splits(names)) and _has_images(root / name)


def _not_splits(names: Iterable[str]) -> list[str]:
    """Return the names that are not those of splits."""
    return [name for name in names if not any(name.lower() in words for words in SPLITS.values())]


def _only_splits(root: Path, names: list[str]) -> bool:
    """Whether there are only split folders, which contain classes."""
    return bool(names) and not _not_splits(names) and not any(_has_images(root / name) for name in names)


def _has_images(path: Path) -> bool:
    """Whether a folder contains images directly."""
    return any(entry.is_file() and looks_like_an_image(Path(entry.path)) for entry in entries(path))


def _split_folder(root: Path, split: str) -> str | None:
    """Return the name of the folder of a split, case-insensitive. Raises `UserError` if there are two."""
    names = [name for name in subfolders(root) if name.lower() in SPLITS[split]]
    if len(names) > 1:
        raise UserError(f"{' and '.join(names)} in {root} both name the {split} images: keep one, or merge them.")
    return names[0] if names else None


def _note_unused(root: Path, used: Iterable[str], notes: list[str]) -> None:
    if others := [entry.name for entry in entries(root) if entry.name not in set(used)]:
        notes.append(f"beside {', '.join(used)} in {root} there is more, which is not used: {listed(others)}.")


def _check_train(path: Path, train: ByClass) -> None:
    if not train:
        raise UserError(f"no class folders in {path}: expected one folder of images for each class.")
    for name, files in train.items():
        if not files:
            raise UserError(f"the class folder '{name}' in {path} has no images: add some, or remove the folder.")


def _by_class(root: Path, notes: list[str]) -> ByClass:
    """Return the files of each class folder.

    Raises `UserError` if two folders have the same name, or if there are split folders below a class.
    """
    by_class: ByClass = {}
    loose = []
    for entry in entries(root):
        if not entry.is_dir():
            loose.append(entry.name)
            continue
        name = normalized(entry.name)
        if name in by_class:
            raise UserError(
                f"two class folders in {root} are called '{name}', with accents encoded in two ways: merge them."
            )
        _check_no_splits(root, entry.name)
        by_class[name] = _files(entry.path, notes)
    if loose and by_class:
        notes.append(f"files beside the class folders in {root} are not used: {listed(loose)}.")
    return dict(sorted(by_class.items()))


def _check_no_splits(root: Path, name: str) -> None:
    below = [inner for inner in subfolders(root / name) if any(inner.lower() in words for words in SPLITS.values())]
    if sum(any(inner.lower() in words for inner in below) for words in SPLITS.values()) > 1:
        raise UserError(
            f"the class folder {root / name} contains split folders ({', '.join(below)}): splits come above classes, "
            f"as in {root}/{below[0]}/{name}."
        )


def _files(top: Path | str, notes: list[str]) -> list[str]:
    files, special = files_below(top)
    if special:
        notes.append(f"skipped {len(special):,} that are neither files nor folders: {listed(special)}.")
    return files


def _items(root: Path, by_class: ByClass, classes: tuple[str, ...]) -> Items:
    def items() -> Iterator[Item]:
        for name, files in by_class.items():
            label = classes.index(name)
            for file in map(Path, files):
                yield Item(file, label, file.relative_to(root).as_posix())

    return items


def _sample(root: Path, groups: Iterable[list[str]]) -> Items:
    """Return evenly spaced files of all groups, in proportion, so that folder names have no influence."""
    groups = list(groups)
    if len(groups) > SAMPLE_SIZE:
        groups = [sorted((file for group in groups for file in group), key=os.path.basename)]
    total = sum(map(len, groups))

    def items() -> Iterator[Item]:
        for group in groups:
            for index in evenly_spaced(len(group), -(-SAMPLE_SIZE * len(group) // total)):
                yield Item(Path(group[index]), 0, group[index])

    return items
