"""Flags from the fields of the recipe, and from the signatures of methods; flags that are not given stay unset.

To add a flag, add a field in config/recipe.py; a field outside the sections also goes into `cli/fields.py`.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn

from shoestring.cli.fields import FIELDS, HELP
from shoestring.config import registry
from shoestring.config.labels import LabelTable
from shoestring.config.layers import FORMER_NAMES, FORMER_OPTIONS
from shoestring.config.recipe import SECTIONS, Recipe
from shoestring.config.units import Duration, Size
from shoestring.errors import UserError, quoted, unknown
from shoestring.suggestions import nearest


class Parser(argparse.ArgumentParser):
    """An argument parser that raises errors as one-line `UserError`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, argument_default=argparse.SUPPRESS, **kwargs)
        self.more_flags: list[str] = []  # that are suggested although they are not declared: options of methods

    def error(self, message: str) -> NoReturn:
        """Raise the message as a `UserError`."""
        if match := re.fullmatch("argument (--[^/ ]+): expected one argument", message):
            message = f"{match[1]} needs a value"
            about = self._option_string_actions[match[1]].help
            if about and about != argparse.SUPPRESS:
                message += f": {about.replace('%%', '%')}"
        if match := re.fullmatch("the following arguments are required: ([^,]+).*", message):
            about = next(action.help for action in self._actions if action.metavar == match[1])
            message = f"the argument {match[1]}, the {about}, is missing"
        raise UserError(f"{message}. (`{self.prog} --help`)")

    def parse_args(self, args: Sequence[str], namespace: None = None) -> argparse.Namespace:  # type: ignore[override]
        """Parse all arguments. Raises `UserError`, with a suggestion, for an unknown flag."""
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            raise self.unknown(unknown[0])
        return known

    def parse_known_args(self, args: Sequence[str], namespace: None = None) -> Any:  # type: ignore[override]
        """Parse known arguments, and return the others as well. A value may start with a dash: `--time -5s`."""
        return super().parse_known_args(self._join_dashed(args), namespace)

    def unknown(self, word: str) -> UserError:
        """Return the error for an unknown flag or an unexpected argument."""
        flag = word.partition("=")[0]
        if not flag.startswith("-") or flag == "-":
            return UserError(f"unexpected argument {quoted(word)}. (`{self.prog} --help`)")
        near = self.near(flag)
        guess = f" Did you mean {near}?" if near else ""
        return UserError(f"unknown flag {quoted(flag)[1:-1]}.{guess} (`{self.prog} --help`)")

    def near(self, flag: str) -> str | None:
        """Return the flag that is probably meant, possibly with a value, or None."""
        visible = [name for name in self.flags() if self._option_string_actions[name].help != argparse.SUPPRESS]
        return nearest(flag, [*visible, *self.more_flags])

    def _join_dashed(self, words: Sequence[str]) -> list[str]:
        """Join values that start with a dash to their flags (`--time=-5s`), to distinguish them from flags."""
        with_value = {flag for action in self._actions if action.nargs is None for flag in action.option_strings}
        joined: list[str] = []
        for word in words:
            dashed = re.match("-[^-]", word) and word not in self._option_string_actions
            if dashed and joined and joined[-1] in with_value and "--" not in joined:
                joined[-1] += f"={word}"
            else:
                joined.append(word)
        return joined

    def flags(self) -> list[str]:
        """Return all flags, hidden ones included."""
        return [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add the flags for output."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print results as JSON")
    group.add_argument("--quiet", action="store_true", help="hide progress and log messages")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_labels(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add the flags of these fields of `LabelTable` (default: all) to a command that has no recipe."""
    fields = [field for field in dataclasses.fields(LabelTable) if not names or field.name in names]
    _add_fields(parser.add_argument_group("labels"), LabelTable, fields, section="", verb="")


def add_recipe(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the flags of a verb, grouped by section of the recipe."""
    group = parser.add_argument_group("recipe")
    group.add_argument("--recipe", metavar="FILE", help="YAML or JSON file of settings; flags take precedence")
    what = {"select": "selected", "prune": "pruned"}.get(verb, "<model>")
    group.add_argument("--out", metavar="DIR", help=f"run directory (default: runs/<data>-{what}-<digest>)")
    group.add_argument("--dry-run", action="store_true", help="print all settings with their origin, and exit")
    if verb in ("run", "train"):
        group.add_argument("--plan", action="store_true", help="time a few steps, print the plan of the run, and exit")
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
        about = HELP.get((verb, field.name)) or _help(field)
        more: dict[str, Any] = {"dest": f"{section}.{field.name}".lstrip("."), "help": about}
        kind = _plain(hints[field.name])
        if kind is bool:
            more["action"] = argparse.BooleanOptionalAction
        else:
            more["metavar"] = "PATH" if "normalize" in field.metadata else _metavar(kind)
            if field.metadata.get("repeated"):
                more["action"] = "append"
        former = [f"--{old}" for old, new in FORMER_NAMES.items() if new == field.name]
        group.add_argument(f"--{flag.replace('_', '-')}", **more)
        for name in former:  # for one version
            group.add_argument(name, **{**more, "dest": f"{section}.{name[2:]}".lstrip("."), "help": argparse.SUPPRESS})


def _help(field: dataclasses.Field) -> str:
    about = field.metadata["help"]
    about = about if field.default is None or field.default is False else f"{about} (default: {field.default})"
    return about.replace("%", "%%")


def _plain(kind: Any) -> Any:
    inner = [k for k in typing.get_args(kind) if k is not type(None)]
    return kind if typing.get_origin(kind) is Literal or not inner else _plain(inner[0])


def _metavar(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return "{" + ",".join(map(str, typing.get_args(kind))) + "}"
    return {int: "N", float: "X", Duration: "DURATION", Size: "SIZE"}.get(kind, "TEXT")


def collect_settings(
    parser: Parser, verb: str, known: Mapping[str, Any], unknown_words: Sequence[str]
) -> dict[str, Any]:
    """Return the settings of the flags, nested like a recipe; `unknown_words` are taken as options of methods.

    `--select.order hardest` sets an option of the selection method; for the verb `select`, so does `--order hardest`.
    """
    settings: dict[str, Any] = {}
    for name, value in known.items():
        _put(settings, name, value)
    for name, value in _pairs(parser, unknown_words):
        section, dot, option = name.partition(".")
        if dot and section in SECTIONS:
            _put(settings, f"{section}.{option}", value)
        elif dot:
            raise unknown(f"section of --{name}:", section, SECTIONS, hint=f"(`{parser.prog} --help`)")
        elif name in _options(verb) or (name in FORMER_OPTIONS and FORMER_OPTIONS[name] in _options(verb)):
            _put(settings, f"{verb}.{name}", value)
        else:
            parser.more_flags = [f"--{option}" for option in _options(verb)]
            if name == verb:  # of the verb `run`, --select names the method
                raise UserError(f"unknown flag --{name}. Did you mean --method? (`{parser.prog} --help`)")
            raise parser.unknown(f"--{name}")
    return settings


def join_values(parser: Parser, words: Sequence[str]) -> list[str]:
    """Join the values of unknown flags to them: `--order=hardest`.

    Otherwise the values of methods' options would be taken for positional arguments.
    """
    joined: list[str] = []
    known = {"--", *parser.flags()}
    for word in words:
        last = joined[-1] if joined else ""
        expects_value = last.startswith("--") and "=" not in last and last not in known
        if expects_value and not word.startswith("--"):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _options(verb: str) -> set[str]:
    """Return the options of all methods of a verb, as flags without dashes."""
    if verb not in SECTIONS or "options" not in {field.name for field in dataclasses.fields(SECTIONS[verb])}:
        return set()
    return {name.replace("_", "-") for method in registry.names(verb) for name in registry.options(verb, method)}


def _put(settings: dict[str, Any], name: str, value: Any) -> None:
    section, dot, field = name.partition(".")
    if dot:
        settings.setdefault(section, {})[field.replace("-", "_")] = value
    else:
        settings[name] = value


def _pairs(parser: Parser, words: Sequence[str]) -> list[tuple[str, str]]:
    """Split `--name=value` into pairs."""
    pairs = []
    for word in words:
        if not word.startswith("--"):
            raise parser.unknown(word)
        name, equals, value = word[2:].partition("=")
        if not equals:
            raise parser.unknown(word)
        pairs.append((name, value))
    return pairs
