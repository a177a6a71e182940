"""A folder of class folders, as photos are usually kept."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from shoestring.config.paths import expanded
from shoestring.data.formats import looks_like_an_image
from shoestring.data.listing import SAMPLE, Item, Items, Listing, Source, composed, files_key, listed, spread
from shoestring.data.scan import entries, files_below, folders
from shoestring.errors import UserError, unknown

# names of the folders of splits, in any case; "valid" may be a class, beside "invalid"
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing"),
}
_NO_CLASS = ("train", "training", "validation", "val", "test", "testing")

ByClass = dict[str, list[str]]  # class name -> paths, both sorted; text, because many Path objects are slow


class _Found(NamedTuple):
    splits: dict[str, ByClass]
    notes: list[str]


def folder(where: str) -> Source:
    """A folder with one folder of images for each class, with or without `train`, `val` and `test` above them.

    Images may lie deeper inside a class folder, also behind links. Hidden files are passed over.
    """
    root = expanded(where).resolve()
    if not root.is_dir():
        raise UserError(f"no folder {where}: expected one with a folder of images for each class.")
    splits, notes = _find(root)
    classes = tuple(
        splits["train"] if "train" in splits else sorted({name for found in splits.values() for name in found})
    )
    files = [file for by_class in splits.values() for paths in by_class.values() for file in paths]
    without = f"{root} has {', '.join(splits)} but no train folder: put training images in {root}/train."

    def read() -> Listing:
        items = {name: _items(root, by_class, classes) for name, by_class in splits.items()}
        sample = _sample(root, next(iter(splits.values())).values())
        return Listing(classes, items, len(files), tuple(notes), sample, without)

    return Source(root.name, str(root), files_key(files), read)


def unlabelled(path: str) -> Source:
    """All images in a folder, however deep, or in its folder `train` when it has one; without classes."""
    root = expanded(path).resolve()
    notes: list[str] = []
    train = _train(root)
    if train is not None:
        _note_others(root, [train], notes)
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


def _find(root: Path) -> _Found:
    """The files of every split, whose classes fit together, and notes."""
    notes: list[str] = []
    train = _train(root)
    if train is None:
        named = folders(root)
        if not _only_splits(root, named):
            return _Found({"train": _classes(root, named, notes)}, notes)
    places = {split: found for split in SPLITS if (found := _place(root, split))}
    _note_others(root, places.values(), notes)
    splits: dict[str, ByClass] = {}
    for split, name in places.items():
        found = _by_class(root / name, notes)
        if split == "train":
            _check_train(root / name, found)
        elif not any(found.values()):
            notes.append(f"{root / name} has no class folders with images: without labels it is not used.")
            continue
        for stray in sorted(found.keys() - splits["train"].keys()) if "train" in splits else ():
            raise unknown(f"class in {name}", stray, splits["train"], hint="Classes are the folders in train.")
        splits[split] = found
    if not splits:
        raise UserError(f"no class folders in {root}: expected one folder of images for each class.")
    return _Found(splits, notes)


def _classes(root: Path, named: list[str], notes: list[str]) -> ByClass:
    """The classes of a folder without splits; `train` may be one, the vehicle."""
    stray = [name for name in named if name.lower() in _NO_CLASS and not _is_class(root, name, named)]
    found = _by_class(root, notes)
    _check_train(root, found)
    if stray and _place(root, "train"):
        both = f"{root} has class folders, and {', '.join(stray)} beside them"
        raise UserError(f"{both}: put the classes of each split below its folder, or give a class another name.")
    if stray:
        raise UserError(f"{root} has {', '.join(stray)} but no train folder: put training images in {root}/train.")
    return found


def _train(root: Path) -> str | None:
    """The name of the folder of training images; None when there is none, or when it is a class called so.

    Where its own images lie in it, beside other classes, `train` is a class. Where they lie in folders of it, and
    images beside it as in a class, nobody can tell: `UserError`.
    """
    named = folders(root)
    name = _place(root, "train")
    if name is None or _is_class(root, name, named):
        return None
    beside = [other for other in _others(named) if _has_images(root / other)]
    if beside and not any(other.lower() in (*SPLITS["validation"], *SPLITS["test"]) for other in named):
        raise UserError(
            f"is {root / name} a class, as {listed(beside, 3)} beside it, or does it hold the classes? If it holds "
            f"them, give {root / name} as the data, or move the others away; if it is a class, give it another name."
        )
    return name


def _is_class(root: Path, name: str, named: list[str]) -> bool:
    """Whether a folder called `train` holds images as the classes beside it do."""
    return name.lower() in SPLITS["train"] and bool(_others(named)) and _has_images(root / name)


def _others(named: Iterable[str]) -> list[str]:
    """Folders that are not called as a split is."""
    return [name for name in named if not any(name.lower() in names for names in SPLITS.values())]


def _only_splits(root: Path, named: list[str]) -> bool:
    """Whether there are folders of splits and nothing else, with classes in them."""
    return bool(named) and not _others(named) and not any(_has_images(root / name) for name in named)


def _has_images(place: Path) -> bool:
    """Whether images lie in the folder itself."""
    return any(entry.is_file() and looks_like_an_image(Path(entry.path)) for entry in entries(place))


def _place(root: Path, split: str) -> str | None:
    """The name of the folder of a split, however it is capitalized; `UserError` when there are two."""
    found = [name for name in folders(root) if name.lower() in SPLITS[split]]
    if len(found) > 1:
        raise UserError(
            f"{' and '.join(found)} in {root} both name the {split} images: keep one, or put them together."
        )
    return found[0] if found else None


def _note_others(root: Path, used: Iterable[str], notes: list[str]) -> None:
    if others := [entry.name for entry in entries(root) if entry.name not in set(used)]:
        notes.append(f"beside {', '.join(used)} in {root} there is more, which is not used: {listed(others)}.")


def _check_train(place: Path, train: ByClass) -> None:
    if not train:
        raise UserError(f"no class folders in {place}: expected one folder of images for each class.")
    for name, files in train.items():
        if not files:
            raise UserError(f"the class folder '{name}' in {place} has no images: add some, or remove the folder.")


def _by_class(root: Path, notes: list[str]) -> ByClass:
    """Files of each class folder. `UserError` when two are called the same, or when splits lie below classes."""
    found: ByClass = {}
    loose = []
    for entry in entries(root):
        if not entry.is_dir():
            loose.append(entry.name)
            continue
        name = composed(entry.name)
        if name in found:
            raise UserError(
                f"two class folders in {root} are called '{name}', with accents coded in two ways: join them."
            )
        _check_no_splits(root, entry.name)
        found[name] = _files(entry.path, notes)
    if loose and found:
        notes.append(f"in {root} files lie beside the class folders, which are not used: {listed(loose)}.")
    return dict(sorted(found.items()))


def _check_no_splits(root: Path, name: str) -> None:
    below = [inner for inner in folders(root / name) if any(inner.lower() in names for names in SPLITS.values())]
    if sum(any(inner.lower() in names for inner in below) for names in SPLITS.values()) > 1:
        raise UserError(
            f"the class {root / name} has folders of splits in it ({', '.join(below)}): splits come above classes, "
            f"as in {root}/{below[0]}/{name}."
        )


def _files(top: Path | str, notes: list[str]) -> list[str]:
    files, special = files_below(top)
    if special:
        notes.append(f"{len(special):,} neither files nor folders left out: {listed(special)}.")
    return files


def _items(root: Path, by_class: ByClass, classes: tuple[str, ...]) -> Items:
    def items() -> Iterator[Item]:
        for name, files in by_class.items():
            label = classes.index(name)
            for file in map(Path, files):
                yield Item(file, label, file.relative_to(root).as_posix())

    return items


def _sample(root: Path, groups: Iterable[list[str]]) -> Items:
    """Files of all groups, in proportion and at equal distances, so that the names of folders decide nothing."""
    groups = list(groups)
    if len(groups) > SAMPLE:
        groups = [sorted((file for group in groups for file in group), key=os.path.basename)]
    total = sum(map(len, groups))

    def items() -> Iterator[Item]:
        for group in groups:
            for index in spread(len(group), -(-SAMPLE * len(group) // total)):
                yield Item(Path(group[index]), 0, group[index])

    return items
