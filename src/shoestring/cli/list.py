"""`shoestring list [KIND [NAME]]`: what there is to choose from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from shoestring.cli.flags import Parser, add_output
from shoestring.config import registry
from shoestring.errors import unknown
from shoestring.escaping import printable


def main(verb: str, words: Sequence[str]) -> int:
    """Run the verb; its exit code."""
    parser = Parser(prog=f"shoestring {verb}", description="What there is to choose from, and its options.")
    parser.add_argument("kind", nargs="?", metavar="KIND", help=", ".join(registry.PROTOCOLS))
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of a kind, with its options")
    add_output(parser)
    given = vars(parser.parse_args(words))
    kind, name = given.get("kind"), given.get("name")
    if kind is not None and kind not in registry.PROTOCOLS:
        raise unknown("kind", kind, registry.PROTOCOLS)
    found = {k: _one(k, name) if name else _all(k) for k in ([kind] if kind else registry.PROTOCOLS)}
    if given.get("json"):
        print(json.dumps(found, indent=1))
        return 0
    for k, entries in found.items():
        print(f"{registry.noun(k)}s (`{k}`)" if not name else f"{k} {name}")
        wide = max(map(len, entries))
        for entry, about in entries.items():
            print(printable(f"  {entry:<{wide}} {about}"))
    return 0


def _all(kind: str) -> dict[str, Any]:
    return {name: registry.summary(kind, name) for name in registry.names(kind)}


def _one(kind: str, name: str) -> dict[str, Any]:
    found = {"": registry.summary(kind, name)}
    for option in registry.options(kind, name).values():
        choices = f" of {', '.join(map(str, option.choices))}" if option.choices else ""
        found[f"--{kind}.{option.name}"] = f"default {option.default}{choices}"
    return found
