"""Recipe files in YAML or JSON, from any source: read with limits, and refused with a one-line error."""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from shoestring.config.paths import expanded
from shoestring.errors import UserError, quoted

_MAX_SIZE = 1_000_000  # bytes; a recipe has a few hundred
_MAX_DEPTH = 20  # of nested mappings and lists; a recipe has two levels


def read(file: str | Path) -> dict[str, Any]:
    """Read the nested mapping in a recipe file.

    Raises `UserError` for a file that is missing, empty, too large, not text, neither YAML nor JSON, nested too deeply
    or not a mapping, for duplicate keys, and for YAML's anchors and tags, which a recipe does not need: a few lines of
    aliases can expand to more than fits into memory.
    """
    import yaml

    file = expanded(file)
    try:
        text = _text(file)
        content = _json(text) if file.suffix.lower() == ".json" else _yaml(text)
    except OSError as error:
        raise UserError(f"cannot read recipe {file}: {error.strerror}.") from None
    except UnicodeError:
        raise UserError(f"recipe {file} is not text in UTF-8.") from None
    except RecursionError:
        raise UserError(f"recipe {file} is nested too deeply: a recipe is a mapping of sections.") from None
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
    """A file is valid in its format, but not allowed as a recipe."""


def _text(file: Path) -> str:
    """Return the text of a file or a pipe; reading stops at the limit, so that `/dev/zero` does not fill the memory."""
    with file.open("rb") as stream:
        content = stream.read(_MAX_SIZE + 1)
    if len(content) > _MAX_SIZE:
        raise _Refused(f"it is larger than {_MAX_SIZE // 1000:,} kB.")
    return content.decode("utf-8-sig")


def _json(text: str) -> Any:
    content = json.loads(text, object_pairs_hook=_unique) if text.strip() else None
    _check_depth(content, 0)
    return content


def _check_depth(value: Any, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise RecursionError
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(inner, depth + 1)


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return the mapping of these keys and values, and refuse duplicate keys."""
    mapping: dict[Any, Any] = {}
    for key, value in pairs:
        if key in mapping:
            raise _Refused(f"duplicate key {quoted(key)}.")
        mapping[key] = value
    return mapping


def _yaml(text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Loads plain values only."""

        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            event = self.peek_event()
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise _Refused(f"line {event.start_mark.line + 1} has an anchor or an alias (& or *): write it out.")
            if self.depth > _MAX_DEPTH:
                raise RecursionError
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            _unique([(key, None) for key in keys if isinstance(key, Hashable)])
            return super().construct_mapping(node, deep=True)

    Loader.add_constructor("tag:yaml.org,2002:timestamp", Loader.construct_yaml_str)  # a date cannot be saved as JSON
    return yaml.load(text, Loader)
