"""Parquet files of images, in a folder or on the Hugging Face Hub, read with `datasets`."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from shoestring.config.paths import expanded
from shoestring.data.columns import image_column, label_column
from shoestring.data.listing import SAMPLE_SIZE, Item, Items, Listing, Source, files_key, normalized
from shoestring.data.parquet import card_names, encoded_bytes, files_of_splits, parquet_files, sample_items, with_rows
from shoestring.errors import UserError, unknown
from shoestring.runtime.extras import require
from shoestring.runtime.network import hub_unreachable

_SPLITS = ("train", "validation", "test")
_BATCH = 64  # rows
_SAMPLE_SHARDS = 8  # files of a data set on the Hub that are sampled to choose the resolution


def hub(where: str) -> Source:
    """A folder of Parquet files (`train-*`, `test-*`, `validation-*`) or a data set of the Hugging Face Hub.

    A Hub data set is `owner/name` or `owner/name@revision`. Images are streamed, without a copy of the encoded files; a
    cached Hub data set is not checked for changes unless another revision is given. Of a folder, only its own Parquet
    files are read, whatever its README names.
    """
    folder = expanded(where).resolve()
    if folder.is_dir():
        files = parquet_files(folder)
        card = [folder / "README.md"] if (folder / "README.md").is_file() else []
        return Source(folder.name, str(folder), files_key([*files, *card]), lambda: _read(str(folder), None, files))
    name, _, revision = where.partition("@")
    return Source(name, f"hub:{where}", where, lambda: _read(name, revision or None, []))


def _read(where: str, revision: str | None, files: list[Path]) -> Listing:
    require("datasets", what=f"reading {where}", extra="hub")
    if files and not (files := with_rows(files)):
        raise UserError(f"the Parquet files in {where} have no rows.")
    local, notes = files_of_splits(files, Path(where))
    streams = _open(where, revision, local)
    without = f"{where} has no train split, only {', '.join(streams)}: name its files train-*.parquet."
    streams = {name: streams[name] for name in _SPLITS if name in streams}
    if not streams:
        raise UserError(without)
    first = next(iter(streams))
    features = _features(streams[first], where)
    image, label = image_column(where, features), label_column(where, features)
    classes = _classes(streams[first], label, where, card_names(Path(where), label) if files else [])
    for name in list(streams):
        if not _has_labels(streams[name], label, where, classes):
            if name == first:
                raise UserError(f"the {name} split of {where} has no labels: expected a class in column '{label}'.")
            notes.append(f"the {name} split of {where} has no labels and is not used.")
            del streams[name]
    splits = {name: _items(name, stream, (image, label), classes, where) for name, stream in streams.items()}
    sample = sample_items(local[first], image) if files else _sample_of_shards(streams[first], image, where)
    size = _size(streams[first], files)
    return Listing(tuple(classes.values()), splits, size, tuple(notes), sample, without)


def _open(where: str, revision: str | None, local: dict[str, list[str]]) -> dict[str, Any]:
    if not Path(where).exists() and (reason := hub_unreachable()) is not None:
        raise UserError(f"there is no folder {where}, and if it is a data set of the Hugging Face Hub: {reason}.")
    import datasets

    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # its errors are raised anyway
    try:
        if local:  # a folder's README could name files elsewhere: only those in the folder are read
            escaped = {name: {name: [glob.escape(file) for file in files]} for name, files in local.items()}
            return {
                name: datasets.load_dataset("parquet", data_files=files, streaming=True)[name]
                for name, files in escaped.items()
            }
        config = datasets.DownloadConfig(max_retries=0)
        streams = datasets.load_dataset(where, revision=revision, streaming=True, download_config=config)
        return {str(name): stream for name, stream in streams.items()}
    except Exception as error:  # the Hub, its cache and the Parquet reader share no base class
        prefix = "" if Path(where).exists() else f"there is no folder {where}, and "
        raise UserError(f"{prefix}cannot open {where} as Parquet or Hub data set: {_one_line(error)}") from None


def _features(stream: Any, where: str) -> dict[str, Any]:
    """Return the type of each column, inferred from the first rows if the files do not specify it."""
    if stream.features is not None:
        return stream.features
    try:
        return stream._resolve_features().features or {}
    except Exception as error:  # as above
        raise UserError(f"cannot read {where}: {_one_line(error)}") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _tables(stream: Any, columns: list[str], where: str) -> Iterator[Any]:
    """Yield Arrow tables of up to 64 rows."""
    try:
        yield from stream.select_columns(columns).with_format("arrow").iter(batch_size=_BATCH)
    except Exception as error:  # as above
        raise UserError(f"cannot read {where}: {_one_line(error)}") from None


def _values(stream: Any, column: str, where: str) -> Iterator[Any]:
    for table in _tables(stream, [column], where):
        yield from table.column(column).to_pylist()


def _has_labels(stream: Any, label: str, where: str, classes: dict[Any, str]) -> bool:
    """Whether any image of a split has a label; on the Hub, -1 often denotes a missing label."""
    if label not in _features(stream, where):
        return False
    missing = {None} | ({-1} - classes.keys())
    return any(value not in missing for value in _values(stream, label, where))


def _classes(stream: Any, label: str, where: str, names: list[str]) -> dict[Any, str]:
    """Return the class name of every label value, in the order of the values; `names` are those of a data card."""
    from datasets import ClassLabel

    kind = _features(stream, where)[label]
    if isinstance(kind, ClassLabel):
        return dict(enumerate(map(normalized, kind.names)))
    values = sorted({_label_value(value) for value in _values(stream, label, where)} - {None})
    if names and all(isinstance(value, int) and -1 <= value < len(names) for value in values):
        return dict(enumerate(map(normalized, names)))
    return {value: str(value) for value in values}


def _label_value(value: Any) -> Any:
    return normalized(value) if isinstance(value, str) else value


def _items(name: str, stream: Any, columns: tuple[str, str], classes: dict[Any, str], where: str) -> Items:
    from datasets import Image

    image, label = columns
    features = _features(stream, where)
    if image not in features:
        raise UserError(f"the {name} split of {where} has no column '{image}', the image column of train.")
    if isinstance(features[image], Image):
        stream = stream.cast_column(image, Image(decode=False))
    names = _label_names(features[label], classes)
    class_index = {class_name: index for index, class_name in enumerate(classes.values())}
    index = {value: class_index[class_name] for value, class_name in names.items() if class_name in class_index}

    def items() -> Iterator[Item]:
        row = 0
        for table in _tables(stream, [image, label], where):
            for cell, label_cell in zip(table.column(image).to_pylist(), table.column(label).to_pylist()):
                value = _label_value(label_cell)
                if value not in index:
                    raise _unknown_label(name, row, names.get(value, value), classes, where)
                yield Item(encoded_bytes(cell), index[value], f"{name}/{row:05d}")
                row += 1

    return items


def _label_names(kind: Any, classes: dict[Any, str]) -> dict[Any, str]:
    """Return the class name of each label value of a split, which may number the classes in its own way."""
    from datasets import ClassLabel

    if isinstance(kind, ClassLabel):
        return dict(enumerate(map(normalized, kind.names)))
    return {**{class_name: class_name for class_name in classes.values()}, **classes}


def _sample_of_shards(stream: Any, image: str, where: str) -> Items:
    """Return the first images of a few files of a data set on the Hub, which may be sorted by class."""
    from datasets import Image

    count = int(getattr(stream, "num_shards", 1))
    shards = range(0, count, -(-count // _SAMPLE_SHARDS))
    if isinstance(_features(stream, where)[image], Image):
        stream = stream.cast_column(image, Image(decode=False))

    def items() -> Iterator[Item]:
        for index in shards:
            shard = stream.shard(num_shards=count, index=index) if count > 1 else stream
            for cell in islice(_values(shard, image, where), SAMPLE_SIZE // len(shards)):
                yield Item(encoded_bytes(cell), 0, "")

    return items


def _unknown_label(split: str, row: int, value: Any, classes: dict[Any, str], where: str) -> UserError:
    if value in (None, -1):
        return UserError(f"image {row} of the {split} split of {where} has no label: add one, or remove the image.")
    return unknown(f"class in the {split} split", str(value), classes.values(), hint="Classes come from train.")


def _size(train: Any, files: list[Path]) -> int:
    if files:
        from pyarrow.parquet import read_metadata

        return sum(read_metadata(file).num_rows for file in files)
    return sum(split.num_examples for split in (train.info.splits or {}).values())
