"""Flags come from the recipe's fields, and a method's own flags from its signature; what is not set stays unset."""

from __future__ import annotations

import argparse
import dataclasses
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn

from shoestring.config import registry
from shoestring.config.recipe import SECTIONS, Recipe, Select
from shoestring.errors import UserError, quoted, unknown
from shoestring.suggestions import nearest

# verb -> its fields of the recipe; a section's name stands for all its fields
_BUDGET = ("time", "epochs", "flops", "seed")
_IMAGES = ("resolution", "validation", "split_seed", "keep", "skip_bad")
_MACHINE = ("device", "memory", "threads")
_CHOICE = tuple(
    f"select.{field.name}" for field in dataclasses.fields(Select) if field.name not in ("subset", "options")
)
FIELDS: dict[str, tuple[str, ...]] = {
    "run": (*_BUDGET, "baseline", *_IMAGES, *_MACHINE, "select", "train", "grow", "prune"),
    "select": (*_BUDGET, *_IMAGES, "unlabelled", *_MACHINE, *_CHOICE),
    "train": (*_BUDGET, *_IMAGES, *_MACHINE, "select.subset", "train", "grow"),
    "prune": (*_BUDGET, *_MACHINE, "prune", "train.batch_size", "train.learning_rate"),
}


_HELP = {("select", "examples"): "how many images to choose"}  # where it means less than in a whole run


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, raised for the caller to print."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, argument_default=argparse.SUPPRESS, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise the message as the user's error."""
        if lacking := re.fullmatch("argument (--[^/ ]+): expected one argument", message):
            about = next(action.help for action in self._actions if lacking[1] in action.option_strings) or ""
            message = f"{lacking[1]} needs a value: {about.replace('%%', '%')}"
        raise UserError(f"{message}. (`{self.prog} --help`)")

    def parse_args(self, args: Sequence[str], namespace: None = None) -> argparse.Namespace:  # type: ignore[override]
        """The flags and places; `UserError`, with the nearest one, for a flag that there is not."""
        given, rest = self.parse_known_args(args, namespace)
        if rest:
            raise self.unknown(rest[0])
        return given

    def parse_known_args(self, args: Sequence[str], namespace: None = None) -> Any:  # type: ignore[override]
        """The flags and places, and the words that are neither. A value may begin with a dash: `--time -5s`."""
        return super().parse_known_args(self._with_dashes(args), namespace)

    def unknown(self, word: str) -> UserError:
        """The error for a word that is no flag of this verb, and no value of one."""
        flag = word.partition("=")[0]
        if not flag.startswith("-") or flag == "-":
            return UserError(f"{quoted(word)} was not expected here. (`{self.prog} --help`)")
        near = self.near(flag)
        guess = f" Did you mean {near}?" if near else ""
        return UserError(f"unknown flag {quoted(flag)[1:-1]}.{guess} (`{self.prog} --help`)")

    def near(self, flag: str) -> str | None:
        """The flag that is meant by this one, perhaps with its value, if any is."""
        return nearest(flag, self.flags())

    def _with_dashes(self, words: Sequence[str]) -> list[str]:
        """The words with values that begin with a dash tied to their flags, `--time=-5s`, to tell them from flags."""
        taking = {flag for action in self._actions if action.nargs is None for flag in action.option_strings}
        tied: list[str] = []
        for word in words:
            looks_alike = re.match("-[^-]", word) and word not in self._option_string_actions
            if looks_alike and tied and tied[-1] in taking and "--" not in tied:
                tied[-1] += f"={word}"
            else:
                tied.append(word)
        return tied

    def flags(self) -> list[str]:
        """All flags."""
        return [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]


def add_output(parser: argparse.ArgumentParser) -> None:
    """How results and progress are shown."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="results as JSON on stdout")
    group.add_argument("--quiet", action="store_true", help="no progress on stderr")
    group.add_argument("--debug", action="store_true", help="the whole traceback of an error")


def add_recipe(parser: argparse.ArgumentParser, verb: str) -> None:
    """The flags of a verb, grouped by section."""
    group = parser.add_argument_group("recipe")
    group.add_argument("--recipe", metavar="FILE", help="YAML or JSON file of settings; flags win over it")
    named = {"select": "chosen", "prune": "pruned"}.get(verb, "<model>")
    group.add_argument("--out", metavar="DIR", help=f"run directory (runs/<data>-{named}-<digest>, when left out)")
    group.add_argument(
        "--dry-run", action="store_true", help="print every value and where it comes from; write nothing"
    )
    if verb in ("run", "train"):
        group.add_argument(
            "--plan", action="store_true", help="time a few steps, print what the run would be, and train nothing"
        )
    groups: dict[str, Any] = {}
    for name in FIELDS[verb]:
        section, _, field = name.partition(".")
        if section in SECTIONS:
            if section not in groups:
                groups[section] = _group(parser, section)
            fields = [f for f in dataclasses.fields(SECTIONS[section]) if f.name != "options" and field in ("", f.name)]
            _add_fields(groups[section], SECTIONS[section], fields, section=section, verb=verb)
        else:
            fields = [f for f in dataclasses.fields(Recipe) if f.name == section]
            _add_fields(group, Recipe, fields, section="", verb=verb)


def _group(parser: argparse.ArgumentParser, section: str) -> Any:
    about = (SECTIONS[section].__doc__ or "").strip()
    return parser.add_argument_group(section, about)


def _add_fields(group: Any, cls: type, fields: Sequence[dataclasses.Field], *, section: str, verb: str) -> None:
    hints = typing.get_type_hints(cls)
    for field in fields:
        flag = section if field.name == "method" and section != verb else field.name
        about = _HELP.get((verb, field.name)) or _help(field)
        more: dict[str, Any] = {"dest": f"{section}.{field.name}".lstrip("."), "help": about}
        kind = _plain(hints[field.name])
        if kind is bool:
            more["action"] = argparse.BooleanOptionalAction
        else:
            more["metavar"] = _metavar(kind)
        group.add_argument(f"--{flag.replace('_', '-')}", **more)


def _help(field: dataclasses.Field) -> str:
    about = field.metadata["help"]
    about = about if field.default in (None, "auto", False) else f"{about} (default: {field.default})"
    return about.replace("%", "%%")


def _plain(kind: Any) -> Any:
    inner = [k for k in typing.get_args(kind) if k is not type(None)]
    return kind if typing.get_origin(kind) is Literal or not inner else _plain(inner[0])


def _metavar(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return "{" + ",".join(map(str, typing.get_args(kind))) + "}"
    return {int: "N", float: "X"}.get(kind, "TEXT")


def layer(parser: Parser, verb: str, given: Mapping[str, Any], rest: Sequence[str]) -> dict[str, Any]:
    """What the flags say, nested like a recipe; `rest` are the flags that the parser does not know: options of methods.

    `--select.order hardest` sets an option of the selection method; in the verb `select` itself `--order hardest` does.
    """
    nested: dict[str, Any] = {}
    for name, value in given.items():
        _put(nested, name, value)
    for name, value in _pairs(parser, rest):
        section, dot, option = name.partition(".")
        if dot and section in SECTIONS:
            _put(nested, f"{section}.{option}", value)
        elif dot:
            raise unknown(f"section of --{name}:", section, SECTIONS, hint=f"(`{parser.prog} --help`)")
        elif _takes_options(verb) and (not parser.near(name) or _is_option(verb, name)):
            _put(nested, f"{verb}.{name}", value)
        else:
            raise parser.unknown(f"--{name}")
    return nested


def with_values(parser: Parser, words: Sequence[str]) -> list[str]:
    """The words with the values of flags that the parser does not know tied to them: `--order hardest` as one word.

    So the value of a method's option is not taken for what stands by its place, as DATA does.
    """
    tied: list[str] = []
    known = {"--", *parser.flags()}
    for word in words:
        waits = bool(tied) and tied[-1].startswith("--") and "=" not in tied[-1] and tied[-1] not in known
        if waits and not word.startswith("--"):
            tied[-1] += f"={word}"
        else:
            tied.append(word)
    return tied


def _takes_options(verb: str) -> bool:
    return verb in SECTIONS and "options" in {field.name for field in dataclasses.fields(SECTIONS[verb])}


def _is_option(verb: str, name: str) -> bool:
    """Whether any method of the verb has this option."""
    return any(name.replace("-", "_") in registry.options(verb, method) for method in registry.names(verb))


def _put(nested: dict[str, Any], name: str, value: Any) -> None:
    section, dot, field = name.partition(".")
    if dot:
        nested.setdefault(section, {})[field.replace("-", "_")] = value
    else:
        nested[name] = value


def _pairs(parser: Parser, rest: Sequence[str]) -> list[tuple[str, str]]:
    """`--name=value` as pairs."""
    pairs = []
    for word in rest:
        if not word.startswith("--"):
            raise parser.unknown(word)
        name, equals, value = word[2:].partition("=")
        if not equals:
            raise parser.unknown(word)
        pairs.append((name, value))
    return pairs
