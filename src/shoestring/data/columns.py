"""Finding the columns of a table that hold images and labels."""

from __future__ import annotations

from typing import Any

from shoestring.errors import UserError

_NAMES = {
    "image": ("image", "img", "images", "picture", "photo", "pixels"),
    "label": ("label", "labels", "class", "target", "category", "fine_label", "y"),
}


def image_column(source: str, features: dict[str, Any]) -> str:
    """Return the name of the image column. Raises `UserError` if there is none, or it is ambiguous."""
    from datasets import Image

    fields = {"bytes", "path"}
    names = [name for name, kind in features.items() if isinstance(kind, Image)]
    names = names or [name for name, kind in features.items() if isinstance(kind, dict) and fields <= kind.keys()]
    names = names or [name for name, kind in features.items() if _dtype(kind) in ("binary", "large_binary")]
    return _select(source, "image", names, features)


def label_column(source: str, features: dict[str, Any]) -> str:
    """Return the name of the label column, of integers, names or Booleans.

    Raises `UserError` if there is none, and if it holds something else, such as fractions or one-hot rows.
    """
    from datasets import ClassLabel

    candidates = [name for name in features if name.lower() in _NAMES["label"]]
    names = [name for name, kind in features.items() if isinstance(kind, ClassLabel)]
    names = names or [name for name in candidates if _is_label_type(features[name])]
    if candidates and not names:
        name = candidates[0]
        raise UserError(
            f"the label column '{name}' of {source} holds {_describe(features[name])}: expected one integer, name "
            "or Boolean for each image."
        )
    return _select(source, "label", names, features)


def _dtype(kind: Any) -> str:
    return str(getattr(kind, "dtype", ""))


def _is_label_type(kind: Any) -> bool:
    dtype = _dtype(kind)
    return dtype in ("string", "large_string", "bool") or dtype.lstrip("u").startswith("int")


def _describe(kind: Any) -> str:
    dtype = _dtype(kind)
    if dtype.startswith(("float", "double", "decimal")):
        return f"fractions ({dtype}; whole numbers have to be stored as integers)"
    if isinstance(kind, list) or type(kind).__name__ in ("List", "LargeList", "Sequence"):
        return "lists, such as one-hot rows or several labels per image"
    return f"values of another type ({dtype or type(kind).__name__})"


def _select(source: str, what: str, names: list[str], features: dict[str, Any]) -> str:
    if len(names) == 1:
        return names[0]
    for name in _NAMES[what]:
        if name in names:
            return name
    columns = ", ".join(features)
    raise UserError(f"{source} has no {what} column: expected one called '{what}' among {columns}.")
