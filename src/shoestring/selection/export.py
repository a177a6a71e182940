"""Export of a subset for people and other tools: a folder of images, a CSV table."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from collections.abc import Container, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.escaping import printable, write_csv
from shoestring.runtime.files import atomic_write
from shoestring.runtime.output_files import check_file, check_folder
from shoestring.selection.subset import Subset


def copy_images(folder: Path, images: Images, subset: Subset, *, root: Path | None, overwrite: bool = False) -> None:
    """Write the selected images into class folders (one folder without a class each); by name they are best first.

    Files below `root`, to which the images' ids are relative paths, are copied; other images are written as PNG files
    at the resolution at which they were loaded. Files from an earlier copy of the same images are kept unless
    `overwrite` is set. Raises `UserError` if the folder holds other files or links, and if the disk is full.
    """
    copies: dict[Path, tuple[np.int64, Path | None]] = {}
    folders = [_folder(label, name) for label, name in enumerate(images.classes)]
    for rank, index in enumerate(subset.indices):
        name = str(images.ids[index])
        source = root / name if root is not None and (root / name).is_file() else None
        target = folder / folders[images.targets[index]] if images.has_one_class_each else folder
        copies[target / f"{rank:05d}-{_safe(Path(name).name)}{'' if source else '.png'}"] = index, source
    check_copy_folder(folder, allowed=copies)
    with _writing(folder):
        for file, (index, source) in copies.items():
            if file.exists() and file.stat().st_size and not overwrite:  # a power failure can leave empty files
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(file, flush=False) as temporary:
                if source is not None:
                    shutil.copyfile(source, temporary)
                else:
                    pixels = images[[index]].pixels[0]
                    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0]).save(temporary, "PNG")


def _folder(label: int, name: str) -> str:
    """Folder name for a class, whose name need not be a valid one: `a/b`, `..`, or empty."""
    safe = _safe(name)
    return safe if safe == name and name and not name.startswith(".") else f"{label}-{safe}"


def _safe(name: str) -> str:
    """The name without path separators and invisible characters."""
    return re.sub(r"[/\\:]", "_", printable(name))


def check_copy_folder(folder: Path, *, allowed: Container[Path] = ()) -> None:
    """Raise `UserError` if the path exists, unless it is a folder with only allowed and hidden files.

    Links are never allowed: the copies would be written elsewhere.
    """
    check_folder(folder, (), "--copy-to", overwrite=False)
    existing = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    if any(path.is_symlink() or path not in allowed for path in existing if not path.name.startswith(".")):
        raise UserError(f"{folder} exists and is not an empty folder. Use another --copy-to.")


def write_table(file: Path, images: Images, subset: Subset, *, overwrite: bool = False) -> None:
    """Write a CSV table of the selected images, best first.

    Columns: rank, image id, class, index in the source's train split, and whether it was selected before; for images
    with several labels each, 0 or 1 in a column of each label instead of the class. Raises `UserError` if the file
    exists with other content, unless `overwrite` is set, and for a link.
    """
    several = images.labels is not None and not images.has_one_class_each
    rows = []
    for rank, index in enumerate(subset.indices):
        labels = images.targets[index].tolist() if several else [_class_name(images, index)]
        rows.append([rank, str(images.ids[index]), *labels, int(images.rows[index]), int(rank < subset.kept)])
    out = io.StringIO(newline="")
    write_csv(out, ["rank", "image", *(images.classes if several else ["class"]), "row", "already"], rows)
    content = out.getvalue().encode("utf-8")
    with _writing(file):
        unchanged = file.is_file() and file.read_bytes() == content
        check_file(file, "--csv", overwrite=overwrite or unchanged)
        with atomic_write(file) as temporary:
            temporary.write_bytes(content)


def _class_name(images: Images, index: np.int64) -> str:
    """The name of the class of an image; empty without labels."""
    return "" if images.labels is None else images.classes[int(images.labels[index])]


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}.") from None
