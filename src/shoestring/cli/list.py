"""`shoestring list [KIND [NAME]]`: list methods, models and data sources with their options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from shoestring.cli.flags import Parser, add_output
from shoestring.config import registry
from shoestring.errors import unknown
from shoestring.escaping import printable


def main(verb: str, words: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = Parser(prog=f"shoestring {verb}", description="List methods, models and data sources with their options.")
    parser.add_argument("kind", nargs="?", metavar="KIND", help=", ".join(registry.PROTOCOLS))
    parser.add_argument("name", nargs="?", metavar="NAME", help="show one entry with its options")
    add_output(parser)
    args = vars(parser.parse_args(words))
    kind, name = args.get("kind"), args.get("name")
    if kind is not None and kind not in registry.PROTOCOLS:
        raise unknown("kind", kind, registry.PROTOCOLS)
    kinds = [kind] if kind else registry.PROTOCOLS
    listed = {kind: _with_options(kind, name) if name else _summaries(kind) for kind in kinds}
    if args.get("json"):
        print(json.dumps(listed, indent=1))
        return 0
    for kind, entries in listed.items():
        print(f"{registry.noun(kind)}s (`{kind}`)" if not name else f"{kind} {name}")
        width = max(map(len, entries))
        for entry, about in entries.items():
            print(printable(f"  {entry:<{width}} {about}"))
    return 0


def _summaries(kind: str) -> dict[str, Any]:
    return {name: registry.summary(kind, name) for name in registry.names(kind)}


def _with_options(kind: str, name: str) -> dict[str, Any]:
    lines = {"": registry.summary(kind, name)}
    for option in registry.options(kind, name).values():
        choices = f" of {', '.join(map(str, option.choices))}" if option.choices else ""
        lines[f"--{kind}.{option.name}"] = f"default {option.default}{choices}"
    return lines
