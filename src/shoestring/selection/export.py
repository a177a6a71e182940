"""What was chosen, handed to people and other tools: a folder of images, a table."""

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


def copy_to(folder: Path, images: Images, subset: Subset, *, root: Path | None, overwrite: bool = False) -> None:
    """The chosen images as files in class folders (or beside each other without labels), best first by their names.

    Files below `root`, where the images' names are paths, are copied as they are; other images are written as PNG files
    in the size in which they were loaded. What an earlier copy of the same images has left stays as it is, unless
    `overwrite` is set. `UserError` for a folder that holds anything else, for links in it, and for a full disk.
    """
    copies: dict[Path, tuple[np.int64, Path | None]] = {}
    folders = [_folder(label, name) for label, name in enumerate(images.classes)]
    for rank, index in enumerate(subset.indices):
        name = str(images.ids[index])
        source = root / name if root is not None and (root / name).is_file() else None
        place = folder if images.labels is None else folder / folders[images.labels[index]]
        copies[place / f"{rank:05d}-{_safe(Path(name).name)}{'' if source else '.png'}"] = index, source
    check_room(folder, but=copies)
    with _writing(folder):
        for file, (index, source) in copies.items():
            if file.exists() and file.stat().st_size and not overwrite:  # a power cut can leave empty files
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(file, flush=False) as temporary:
                if source is not None:
                    shutil.copyfile(source, temporary)
                else:
                    pixels = images[[index]].pixels[0]
                    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0]).save(temporary, "PNG")


def _folder(label: int, name: str) -> str:
    """A folder's name for a class, which may be called what no folder can be: `a/b`, `..`, nothing at all."""
    safe = _safe(name)
    return safe if safe == name and name and not name.startswith(".") else f"{label}-{safe}"


def _safe(name: str) -> str:
    """The name without what separates folders, and without characters that are not seen."""
    return re.sub(r"[/\\:]", "_", printable(name))


def check_room(folder: Path, *, but: Container[Path] = ()) -> None:
    """`UserError` when there is something at this path already, other than these files, or hidden ones, in a folder.

    A link is something else in any case: what is written there would go elsewhere.
    """
    check_folder(folder, (), "--copy-to", overwrite=False)
    there = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    if any(path.is_symlink() or path not in but for path in there if not path.name.startswith(".")):
        raise UserError(f"{folder} is there already and not an empty folder: choose another --copy-to.")


def list_images(file: Path, images: Images, subset: Subset, *, overwrite: bool = False) -> None:
    """A table of the chosen images, best first: rank, name, class, place in the source's train split, chosen before.

    `UserError` for a file that is there already and holds anything else, unless `overwrite` is set, and for a link.
    """
    rows = []
    for rank, index in enumerate(subset.indices):
        label = "" if images.labels is None else images.classes[int(images.labels[index])]
        rows.append([rank, str(images.ids[index]), label, int(images.rows[index]), int(rank < subset.kept)])
    out = io.StringIO(newline="")
    write_csv(out, ["rank", "image", "class", "row", "chosen_before"], rows)
    content = out.getvalue().encode("utf-8")
    with _writing(file):
        same = file.is_file() and file.read_bytes() == content
        check_file(file, "--csv", overwrite=overwrite or same)
        with atomic_write(file) as temporary:
            temporary.write_bytes(content)


@contextlib.contextmanager
def _writing(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror or error}.") from None
