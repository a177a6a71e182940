"""Generate the pages of the site that come from the code: a card for each method, and the reference.

    python docs/generate.py

writes docs/methods/ and docs/reference/, which are not committed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import shutil
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from shoestring.cli.fields import FIELDS
from shoestring.cli.main import VERBS, main
from shoestring.config import registry
from shoestring.config.recipe import SECTIONS, Recipe

DOCS = Path(__file__).parent


@dataclass(frozen=True)
class Kind:
    """How a kind of method is presented: title and introduction of its list, and an example command."""

    title: str
    about: str
    example: str
    option: str = ""


KINDS = {
    "select": Kind(
        "Selection methods",
        "Which training images to use. [How to select images](../selection.md) says which method to use when, and the "
        "[leaderboard](../leaderboard.md) compares them. `--within easiest:0.2` restricts any of them to a fraction of "
        "the images by difficulty.",
        "shoestring run DATA --examples 1000 --select {name}",
        "--select.{option}",
    ),
    "grow": Kind(
        "Growth schedules",
        "Width, depth and resolution at each fraction of the training. "
        "[How to grow networks](../growing.md) explains them; several can be combined.",
        "shoestring train DATA --time 5m --grow {name}",
        "--grow.{option}",
    ),
    "prune": Kind(
        "Pruning criteria",
        "Which channels of a trained network are removed. [How to prune a network](../pruning.md) compares "
        "them, and the [channel map](../channels.md) removes the channels.",
        "shoestring run DATA --time 5m --macs 0.5 --prune {name}",
        "--prune.{option}",
    ),
    "models": Kind(
        "Models",
        "Networks for small images. `timm:NAME` is any timm model, and `auto` fits `convnet` to images and time.",
        "shoestring train DATA --time 5m --model {name}",
        "--{option}",
    ),
    "data": Kind(
        "Sources of images",
        "Where images come from; DATA determines the source. [How to load images](../data.md) has examples.",
        "",
    ),
}


def generate(docs: Path) -> None:
    """Write all generated pages below this folder."""
    for name in ("methods", "reference"):
        shutil.rmtree(docs / name, ignore_errors=True)
    nav = ["---\nsearch:\n  exclude: true\n---\n", "* [Overview](index.md)"]
    overview = ["# Methods", "One card for each method, generated from its docstring and signature.\n"]
    for kind, about in KINDS.items():
        names = registry.names(kind)
        nav += [f"* {about.title}", *(f"    * [{name}]({kind}/{name}.md)" for name in names)]
        rows = ((f"[`{name}`]({kind}/{name}.md)", registry.summary(kind, name)) for name in names)
        overview += [f"## {about.title}", about.about, table(("method", "summary"), rows)]
        for name in names:
            write(docs / "methods" / kind / f"{name}.md", card(kind, name))
    write(docs / "methods" / "index.md", "\n\n".join(overview))
    write(docs / "methods" / "SUMMARY.md", "\n".join(nav))
    write(docs / "reference" / "recipe.md", recipe_page())
    write(docs / "reference" / "commands.md", commands_page())


def card(kind: str, name: str) -> str:
    """The page of one method: what it does, how to use it, its options, its signature."""
    method, about, options = registry.find(kind, name), KINDS[kind], registry.options(kind, name)
    parts = [f"# {name}", inspect.getdoc(method) or ""]
    if about.example:
        parts.append(f"```console\n$ {about.example.format(name=name)}\n```")
    if options:
        rows = (
            (
                f"`{option.name}`",
                f"`{about.option.format(option=option.name.replace('_', '-'))}`",
                values(option.type),
                "required" if option.default is inspect.Parameter.empty else f"`{option.default}`",
            )
            for option in options.values()
        )
        parts += ["## Options", table(("option", "flag", "values", "default"), rows)]
    parts += [
        "## Function",
        f"In `src/{method.__module__.replace('.', '/')}.py`:",
        f"```python\n{signature(method)}\n```",
    ]
    return "\n\n".join(parts)


def signature(method: Any) -> str:
    """The definition line of a function, one parameter on each line."""
    found = inspect.signature(method)
    parameters, keyword_only = [], False
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            parameters.append("*")
        default = "" if parameter.default is parameter.empty else f" = {_default(parameter.default)}"
        annotation = "" if parameter.annotation is parameter.empty else f": {parameter.annotation}"
        parameters.append(f"{parameter.name}{annotation}{default or ''}")
    lines = "".join(f"    {parameter},\n" for parameter in parameters)
    returns = "" if found.return_annotation is found.empty else f" -> {found.return_annotation}"
    return f"def {method.__name__}(\n{lines}){returns}"


def recipe_page() -> str:
    """Every field of a recipe with its flag, values, default and help."""
    parts = [
        "---\nhide: [toc]\n---",
        "# Recipe fields and flags",
        "A recipe is a YAML or JSON file, given by `--recipe FILE`. Every field is also a flag, and flags take "
        "precedence over the recipe, and the recipe over defaults. `--dry-run` prints every value and its origin. "
        "Options of a method are written beside its name: `--select.order hardest`, or `order: hardest` in the section "
        "`select`.",
        "## The whole run",
        _fields(Recipe, ""),
    ]
    for name, section in SECTIONS.items():
        parts += [f"## Section `{name}`", (inspect.getdoc(section) or "").split("\n\n")[0], _fields(section, name)]
    parts += [
        "## Examples",
        *(f'```yaml title="recipes/{file.name}"\n{file.read_text().strip()}\n```' for file in _recipes()),
    ]
    return "\n\n".join(parts)


def _fields(section: type, prefix: str) -> str:
    hints = typing.get_type_hints(section)
    fields = [field for field in dataclasses.fields(section) if "help" in field.metadata]
    rows = (
        (
            f"`{field.name}`",
            _flag(prefix, field.name),
            values(hints[field.name]),
            "" if field.default in (None, "") else f"`{field.default}`",
            field.metadata["help"],
            ", ".join(_verbs(prefix, field.name)),
        )
        for field in fields
    )
    return table(("field", "flag", "values", "default", "meaning", "commands"), rows)


def _flag(section: str, field: str) -> str:
    """The flag of a field; in the commands named like a section, its method is `--method`."""
    if field in ("data", "start"):  # given by position
        return "`DATA`" if field == "data" else "`RUN`"
    name = section if field == "method" else field
    return f"`--{name.replace('_', '-')}`"


def _verbs(section: str, field: str) -> Iterable[str]:
    if not section and field in ("data", "start"):
        return [verb for verb in FIELDS if (verb == "prune") == (field == "start")]
    known = {section, f"{section}.{field}"} if section else {field}
    return [verb for verb, fields in FIELDS.items() if known & set(fields)]


def commands_page() -> str:
    """`--help` of every command."""
    parts = ["# Commands", "The output of `shoestring VERB --help`."]
    for verb in VERBS:
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            main([verb, "--help"])
        parts += [f"## {verb}", f"```text\n{text.getvalue().strip()}\n```"]
    return "\n\n".join(parts)


def values(kind: Any) -> str:
    """The values of a type, in words."""
    if typing.get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(kind))
    inner = [one for one in typing.get_args(kind) if one is not type(None)]
    if inner and typing.get_origin(kind) not in (dict, list, tuple):
        return " or ".join(dict.fromkeys(map(values, inner)))
    names = {int: "integer", float: "number", str: "text", bool: "true, false"}
    return names.get(kind, "mapping")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, whose names do not wrap (style.css)."""
    lines = [header, ["---"] * len(header), *rows]
    text = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
    return f'<div class="names" markdown>\n\n{text}\n\n</div>'


def write(file: Path, text: str) -> None:
    """Write a page, with its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text.strip() + "\n", encoding="utf-8")


def _recipes() -> list[Path]:
    return sorted((DOCS.parent / "recipes").glob("*.yaml"))


def _default(value: Any) -> str:
    return repr(value) if isinstance(value, str | int | float | bool | None | tuple) else "..."


if __name__ == "__main__":
    generate(DOCS)
