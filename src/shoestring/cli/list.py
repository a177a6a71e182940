"""`shoestring list [KIND [NAME]]`: list methods, models and data sources with their options."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from shoestring.cli.flags import Parser, add_output
from shoestring.config import registry
from shoestring.errors import unknown
from shoestring.escaping import printable

_KINDS = (*registry.PROTOCOLS, "backbones")


def main(verb: str, words: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = Parser(prog=f"shoestring {verb}", description="List methods, models and data sources with their options.")
    parser.add_argument("kind", nargs="?", metavar="KIND", help=", ".join(_KINDS))
    parser.add_argument("name", nargs="?", metavar="NAME", help="show one entry with its options")
    add_output(parser)
    args = vars(parser.parse_args(words))
    kind, name = args.get("kind"), args.get("name")
    if kind is not None and kind not in _KINDS:
        raise unknown("kind", kind, _KINDS)
    if kind == "backbones":
        return _list_backbones(name, as_json="json" in args)
    kinds = [kind] if kind else registry.PROTOCOLS
    listed = {kind: _with_options(kind, name) if name else _summaries(kind) for kind in kinds}
    if args.get("json"):
        print(json.dumps(listed, indent=1))
        return 0
    for kind, entries in listed.items():
        print(f"{registry.noun(kind)}s (`{kind}`)" if not name else f"{kind} {name}")
        for line in entries.pop("", "").splitlines():
            print(printable(f"  {line}".rstrip()))
        width = max(map(len, entries), default=0)
        for entry, about in entries.items():
            print(printable(f"  {entry:<{width}} {about}"))
    return 0


def _list_backbones(name: str | None, *, as_json: bool) -> int:
    """Print the recommended pretrained networks, the best first."""
    from shoestring.models.backbones import BACKBONES

    listed = [backbone for backbone in BACKBONES if name is None or backbone.name == name]
    if not listed:
        raise unknown("backbone", name or "", [backbone.name for backbone in BACKBONES])
    if as_json:
        rows = [{**dataclasses.asdict(backbone), "weights": backbone.weights} for backbone in listed]
        print(json.dumps({"backbones": rows}, indent=1))
        return 0
    width = max(len(backbone.name) for backbone in listed)
    print(f"  {'backbone':<{width}} {'Mparams':>7} {'GMACs':>6} {'px':>4}  {'license':<13} weights")
    for backbone in listed:
        sizes = f"{backbone.params / 1e6:7.1f} {backbone.macs / 1e9:6.2f} {backbone.side:4}"
        print(f"  {backbone.name:<{width}} {sizes}  {backbone.license:<13} {backbone.weights}")
    return 0


def _summaries(kind: str) -> dict[str, Any]:
    return {name: registry.summary(kind, name) for name in registry.names(kind)}


def _with_options(kind: str, name: str) -> dict[str, Any]:
    """Return the docstring of a method under "", and what its options may be."""
    lines = {"": registry.description(kind, name)}
    for option in registry.options(kind, name).values():
        choices = f" of {', '.join(map(str, option.choices))}" if option.choices else ""
        lines[f"--{kind}.{option.name}"] = f"default {option.default}{choices}"
    return lines
