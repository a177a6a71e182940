"""Which columns of a table hold the images and their labels."""

from __future__ import annotations

from typing import Any

from shoestring.errors import UserError

_NAMES = {
    "image": ("image", "img", "images", "picture", "photo", "pixels"),
    "label": ("label", "labels", "class", "target", "category", "fine_label", "y"),
}


def image_column(source: str, features: dict[str, Any]) -> str:
    """The name of the column of images; `UserError` when there is none or too many that could be."""
    from datasets import Image

    fields = {"bytes", "path"}
    found = [name for name, kind in features.items() if isinstance(kind, Image)]
    found = found or [name for name, kind in features.items() if isinstance(kind, dict) and fields <= kind.keys()]
    found = found or [name for name, kind in features.items() if _dtype(kind) in ("binary", "large_binary")]
    return _one_of(source, "image", found, features)


def label_column(source: str, features: dict[str, Any]) -> str:
    """The name of the column of labels: integers, names or truth values.

    `UserError` when there is none, and when it holds something else, such as fractions or one-hot rows.
    """
    from datasets import ClassLabel

    named = [name for name in features if name.lower() in _NAMES["label"]]
    found = [name for name, kind in features.items() if isinstance(kind, ClassLabel)]
    found = found or [name for name in named if _plain(features[name])]
    if named and not found:
        name = named[0]
        raise UserError(
            f"the label column '{name}' of {source} holds {_described(features[name])}: expected one integer, name "
            "or truth value for each image."
        )
    return _one_of(source, "label", found, features)


def _dtype(kind: Any) -> str:
    return str(getattr(kind, "dtype", ""))


def _plain(kind: Any) -> bool:
    dtype = _dtype(kind)
    return dtype in ("string", "large_string", "bool") or dtype.lstrip("u").startswith("int")


def _described(kind: Any) -> str:
    dtype = _dtype(kind)
    if dtype.startswith(("float", "double", "decimal")):
        return f"fractions ({dtype}; whole numbers have to be stored as integers)"
    if isinstance(kind, list) or type(kind).__name__ in ("List", "LargeList", "Sequence"):
        return "lists, such as one-hot rows or several labels of one image"
    return f"values of another kind ({dtype or type(kind).__name__})"


def _one_of(source: str, what: str, found: list[str], features: dict[str, Any]) -> str:
    if len(found) == 1:
        return found[0]
    for name in _NAMES[what]:
        if name in found:
            return name
    columns = ", ".join(features)
    raise UserError(f"{source} has no column for the {what}: expected one called '{what}' among {columns}.")
