"""Parquet files with images inside, in a folder or on the Hugging Face Hub, read through `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shoestring.data.listing import Item, Items, Listing, Source, files_key
from shoestring.errors import UserError, unknown

_SPLITS = ("train", "validation", "test")
_BATCH = 256  # rows
_NAMES = {
    "image": ("image", "img", "images", "picture", "photo", "pixels"),
    "label": ("label", "labels", "class", "target", "category", "fine_label", "y"),
}


def hub(where: str) -> Source:
    """A folder of Parquet files (`train-*`, `test-*`, `validation-*`) or a data set of the Hugging Face Hub.

    A Hub data set is `owner/name`, or `owner/name@revision`. The images are streamed, so no second copy of the encoded
    files is made; a Hub data set is not looked at again once it is cached, until another revision is named.
    """
    folder = Path(where).expanduser().resolve()
    if folder.is_dir():
        files = parquet_files(folder)
        return Source(folder.name, str(folder), files_key(files), lambda: _read(str(folder), None, files))
    name, _, revision = where.partition("@")
    return Source(name, f"hub:{where}", where, lambda: _read(name, revision or None, []))


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files of a folder and of its direct sub-folders (the Hub keeps them in `data/`), sorted."""
    return sorted([*folder.glob("*.parquet"), *folder.glob("*/*.parquet")])


def _read(where: str, revision: str | None, files: list[Path]) -> Listing:
    streams = _open(where, revision)
    if "train" not in streams:
        raise UserError(f"{where} has no train split, only {', '.join(streams)}: name its files train-*.parquet.")
    train = streams["train"]
    image, label = _image_column(where, train.features), _label_column(where, train.features)
    notes = []
    for name in _SPLITS:
        if name in streams and next(_values(streams[name], label, where), None) in (None, -1):
            if name == "train":
                raise UserError(f"the train split of {where} has no labels: expected a class in column '{label}'.")
            notes.append(f"the {name} split of {where} has no labels and is not used.")
            del streams[name]
    classes = _classes(train, label, where)
    splits = {name: _items(name, streams[name], (image, label), classes, where) for name in _SPLITS if name in streams}
    return Listing(tuple(classes.values()), splits, _size(train, files), tuple(notes))


def _open(where: str, revision: str | None) -> dict[str, Any]:
    try:
        import datasets
    except ModuleNotFoundError:
        raise UserError(f'reading {where} needs another package: pip install "shoestring[hub]".') from None
    try:
        once = datasets.DownloadConfig(max_retries=0)
        streams = datasets.load_dataset(where, revision=revision, streaming=True, download_config=once)
        return {str(name): stream for name, stream in streams.items()}
    except Exception as error:  # the Hub, its cache and the Parquet reader share no base class
        here = "" if Path(where).exists() else f"there is no folder {where}, and "
        raise UserError(f"{here}cannot open {where} as Parquet or Hub data set: {_line(error)}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _image_column(where: str, features: dict[str, Any]) -> str:
    from datasets import Image

    fields = {"bytes", "path"}
    found = [name for name, kind in features.items() if isinstance(kind, Image)]
    found = found or [name for name, kind in features.items() if isinstance(kind, dict) and fields <= kind.keys()]
    found = found or [
        name for name, kind in features.items() if getattr(kind, "dtype", "") in ("binary", "large_binary")
    ]
    return _one_of(where, "image", found, features)


def _label_column(where: str, features: dict[str, Any]) -> str:
    from datasets import ClassLabel

    def plain(kind: Any) -> bool:
        dtype = str(getattr(kind, "dtype", ""))
        return dtype == "string" or dtype.lstrip("u").startswith("int")

    found = [name for name, kind in features.items() if isinstance(kind, ClassLabel)]
    found = found or [name for name, kind in features.items() if plain(kind) and name.lower() in _NAMES["label"]]
    return _one_of(where, "label", found, features)


def _one_of(where: str, what: str, found: list[str], features: dict[str, Any]) -> str:
    if len(found) == 1:
        return found[0]
    for name in _NAMES[what]:
        if name in found:
            return name
    columns = ", ".join(features)
    raise UserError(f"{where} has no column for the {what}: expected one called '{what}' among {columns}.")


def _tables(stream: Any, columns: list[str], where: str) -> Iterator[Any]:
    """Arrow tables of some rows each."""
    try:
        yield from stream.select_columns(columns).with_format("arrow").iter(batch_size=_BATCH)
    except Exception as error:  # as above
        raise UserError(f"cannot read {where}: {_line(error)}") from None


def _values(stream: Any, column: str, where: str) -> Iterator[Any]:
    for table in _tables(stream, [column], where):
        yield from table.column(column).to_pylist()


def _classes(train: Any, label: str, where: str) -> dict[Any, str]:
    """Class name of every value of the label column, in the order of the values."""
    from datasets import ClassLabel

    kind = train.features[label]
    if isinstance(kind, ClassLabel):
        return dict(enumerate(kind.names))
    return {value: str(value) for value in sorted(set(_values(train, label, where)) - {None})}


def _items(name: str, stream: Any, columns: tuple[str, str], classes: dict[Any, str], where: str) -> Items:
    from datasets import Image

    image, label = columns
    if isinstance(stream.features[image], Image):
        stream = stream.cast_column(image, Image(decode=False))
    index = {value: position for position, value in enumerate(classes)}

    def items() -> Iterator[Item]:
        row = 0
        for table in _tables(stream, [image, label], where):
            for encoded, value in zip(table.column(image).to_pylist(), table.column(label).to_pylist()):
                if value not in index:
                    raise _stray(name, row, value, classes, where)
                yield Item(_bytes(encoded), index[value], f"{name}/{row:05d}")
                row += 1

    return items


def _bytes(encoded: Any) -> bytes:
    data = encoded.get("bytes") if isinstance(encoded, dict) else encoded
    return data or b""


def _stray(split: str, row: int, value: Any, classes: dict[Any, str], where: str) -> UserError:
    if value in (None, -1):
        return UserError(f"image {row} of the {split} split of {where} has no label: give it one, or leave it out.")
    return unknown(f"class in the {split} split", str(value), classes.values(), hint="Classes come from train.")


def _size(train: Any, files: list[Path]) -> int:
    if files:
        from pyarrow.parquet import read_metadata

        return sum(read_metadata(file).num_rows for file in files)
    return sum(split.num_examples for split in (train.info.splits or {}).values())
