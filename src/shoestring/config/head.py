"""Head of a network as users write it: linear, mlp, mlp:256,64, cosine, prototype or dual."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shoestring.errors import UserError, unknown

HEADS = ("linear", "mlp", "cosine", "prototype", "dual")
_HIDDEN = (256, 64)
_MAX_LAYERS, _MAX_UNITS = 8, 4096  # hidden ones


@dataclass(frozen=True)
class HeadKind:
    """Kind of head, and the sizes of the hidden layers of an mlp."""

    kind: str
    hidden: tuple[int, ...] = ()

    @classmethod
    def parse(cls, given: HeadKind | str) -> HeadKind:
        """Parse 'cosine' or 'mlp:256,64'. Raises `UserError` for anything else."""
        if isinstance(given, HeadKind):
            return given
        kind, colon, sizes = given.partition(":")
        if kind not in HEADS:
            raise unknown("head", kind, HEADS)
        if kind != "mlp":
            if colon:
                raise UserError(f"the head '{kind}' has no hidden layers: write {kind}, or mlp:256,64.")
            return cls(kind)
        parts = [part.strip() for part in sizes.split(",")] if colon else list(map(str, _HIDDEN))
        hidden = tuple(int(part) if re.fullmatch("[0-9]{1,9}", part) else 0 for part in parts)
        if len(hidden) > _MAX_LAYERS or not all(1 <= size <= _MAX_UNITS for size in hidden):
            raise UserError(
                f"'{given}' needs the sizes of 1 to {_MAX_LAYERS} hidden layers, each from 1 to {_MAX_UNITS}: "
                "mlp:256,64, for example."
            )
        return cls(kind, hidden)

    def __str__(self) -> str:
        return self.kind + (":" + ",".join(map(str, self.hidden)) if self.hidden else "")
