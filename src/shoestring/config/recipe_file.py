"""Recipe files, YAML or JSON, which anybody may have written: read with limits, and refused in one line."""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from shoestring.config.paths import expanded
from shoestring.errors import UserError, quoted

_LARGEST = 1_000_000  # characters; a recipe has a few hundred
_DEEPEST = 20  # nested mappings and lists; a recipe has two


def read(file: str | Path) -> dict[str, Any]:
    """The nested mapping in a recipe file.

    Raises `UserError` for a file that is missing, empty, too large, no text, neither YAML nor JSON, nested too deep or
    no mapping, for a key that is there twice, and for YAML's anchors and tags, which a recipe has no use for: a few
    lines of aliases can stand for more than fits into memory.
    """
    import yaml

    file = expanded(file)
    try:
        text = _text(file)
        content = _json(text) if file.suffix.lower() == ".json" else _yaml(text)
    except OSError as error:
        raise UserError(f"cannot read recipe {file}: {error.strerror}.") from None
    except UnicodeError:
        raise UserError(f"recipe {file} is no text in UTF-8.") from None
    except RecursionError:
        raise UserError(f"recipe {file} is nested too deep: a recipe is a mapping of sections.") from None
    except _Refused as error:
        raise UserError(f"recipe {file}: {error}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"recipe {file} is neither YAML nor JSON: {' '.join(str(error).split())}.") from None
    if content is None:
        raise UserError(f"recipe {file} is empty: expected a mapping such as 'data: cifar10'.")
    if not isinstance(content, dict):
        raise UserError(f"recipe {file} must be a mapping such as 'data: cifar10', not a {type(content).__name__}.")
    return content


class _Refused(Exception):
    """What a file may hold by its format, and a recipe may not."""


def _text(file: Path) -> str:
    """The text of a file or a pipe; only so much is read that `/dev/zero` does not fill the memory."""
    with file.open("rb") as stream:
        content = stream.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise _Refused(f"it is larger than {_LARGEST // 1000:,} kB.")
    return content.decode("utf-8-sig")


def _json(text: str) -> Any:
    content = json.loads(text, object_pairs_hook=_once) if text.strip() else None
    _shallow(content, 0)
    return content


def _shallow(value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise RecursionError
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _shallow(inner, depth + 1)


def _once(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """The mapping of these keys and values, each key once."""
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Refused(f"the key {quoted(key)} is there twice.")
        found[key] = value
    return found


def _yaml(text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Plain values only."""

        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.peek_event()
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise _Refused(f"line {event.start_mark.line + 1} has an anchor or an alias (& or *): write it out.")
            if self.depth > _DEEPEST:
                raise RecursionError
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            _once([(key, None) for key in keys if isinstance(key, Hashable)])
            return super().construct_mapping(node, deep=True)

    return yaml.load(text, Loader)
