"""Command lines from dataclasses: a field is a flag and a key of YAML files, its docstring is its help.

jsonargparse reads both; what is here tells a mistake as its writer needs it: with the file's name and the
right setting beside the wrong one.
"""

from __future__ import annotations

import sys
from argparse import SUPPRESS, Action, ArgumentError
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import yaml
from docstring_parser import parse_from_object
from jsonargparse import (  # type: ignore[attr-defined]  # public, but not in its __all__
    ActionConfigFile,
    ArgumentParser,
    DefaultHelpFormatter,
    set_parsing_settings,
)

from features.setting_names import (
    choices_of,
    did_you_mean,
    given_type,
    groups_of,
    item_type,
    types_of,
    wrong_settings,
    wrong_value,
)

__all__ = ["Arguments", "make_parser", "parse_config"]


def parse_config(
    command: str,
    config_class: type[Any],
    argv: Sequence[str] | None,
    *,
    positional: Collection[str] = (),
    several: Collection[str] = (),
) -> Any:
    """Flags and YAML -> the dataclass; see ``make_parser`` for the arguments.

    Raises:
        SystemExit: With code 2 for anything wrong, 0 after ``--help`` or ``--print_config``.
    """
    return make_parser(command, config_class, positional=positional, several=several).settings(argv)


def make_parser(
    command: str,
    config_class: type[Any],
    *,
    positional: Collection[str] = (),
    several: Collection[str] = (),
    description: str | None = None,
) -> Arguments:
    """A parser with a flag a field; a field that is a dataclass itself gives dotted flags (``--optim.kind``).

    A switch needs no value, ``--a_b`` may be written ``--a-b``.

    Args:
        command: As in ``python -m command``.
        config_class: A dataclass; fields without default are required.
        positional: Fields that are given by their place, in the order of the dataclass, not by a flag; of a
            list there must be one or more, and one with a default may be left out.
        several: Fields of lists whose flag is followed by one or more values.
        description: What the command does; the dataclass's docstring by default.
    """
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = Arguments(
        prog=f"python -m {command}",
        description=(description or config_class.__doc__ or "").strip().replace("``", ""),
        formatter_class=HelpText,
        allow_abbrev=False,
    )
    help_text = "YAML file with any of the settings below"
    parser.add_argument("--config", action=SettingsFile, metavar="FILE", help=help_text)
    parser.take(config_class, positional, several)
    return parser


_SWITCHED = ("true", "false")


class HelpText(DefaultHelpFormatter):
    """Help without jsonargparse's types, which flags already show: the text, and the default."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{"max_help_position": 36} | settings)

    def _get_help_string(self, action: Action) -> str:
        text = " ".join((action.help or "").split()).replace("``", "")
        if not action.option_strings or action.default is SUPPRESS or isinstance(action, ActionConfigFile):
            return text
        return f"{text} ({'required' if action.required else f'default: {_as_yaml(action.default)}'})"

    def _format_action_invocation(self, action: Action) -> str:
        """Without ``--a+``, which adds to a list."""
        flags, action.option_strings = (
            action.option_strings,
            [flag for flag in action.option_strings if not flag.endswith("+")],
        )
        try:
            return super()._format_action_invocation(action)
        finally:
            action.option_strings = flags


class Arguments(ArgumentParser):
    """The parser of a command whose settings are a dataclass."""

    _config_class: type[Any]
    _types: Mapping[str, Any]

    def take(self, config_class: type[Any], positional: Collection[str], several: Collection[str]) -> None:
        """Adds the fields of a dataclass."""
        self._config_class, self._types = config_class, types_of(config_class)
        texts = {each.arg_name: each.description for each in parse_from_object(config_class).params}
        for field in fields(config_class):
            if field.name not in (*positional, *several):
                continue
            kind = self._types[field.name]
            optional = field.default is not MISSING or field.default_factory is not MISSING
            settings: dict[str, Any] = {"help": texts.get(field.name), "type": kind}
            if item_type(kind) is not None:
                settings |= {"type": item_type(kind), "nargs": "+"}
            elif field.name in positional and optional:
                settings |= {"nargs": "?"}
            if field.name in positional:
                self.add_argument(field.name, **settings)
                continue
            if field.default_factory is not MISSING:
                settings |= {"default": field.default_factory()}
            self.add_argument(f"--{field.name}", required=not optional, **settings)
        self.add_class_arguments(config_class, nested_key=None, skip={*positional, *several})
        self._make_readable(positional)

    def settings(self, argv: Sequence[str] | None) -> Any:
        """The dataclass; exits with code 2 for anything wrong."""
        parsed = self.parse_args(argv)
        try:
            values = vars(self.instantiate(parsed))
            return self._config_class(**{each.name: values[each.name] for each in fields(self._config_class)})
        except ValueError as error:
            self.error(str(error))

    def parse_args(self, args: Sequence[str] | None = None, *others: Any, **settings: Any) -> Any:  # type: ignore[override]
        """As jsonargparse does, flags in whatever spelling; a wrong one is answered with the right one."""
        return super().parse_args(self._spelled(sys.argv[1:] if args is None else args), *others, **settings)

    def wrong_in(self, settings: Mapping[Any, Any]) -> list[str]:
        """What to tell of unknown names and wrong words in a file's settings."""
        return list(wrong_settings(settings, {**self._types, "config": str}))

    def _spelled(self, words: Sequence[str]) -> list[str]:
        """Words as jsonargparse knows them."""
        spelled: list[str] = []
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if word == "--" or not word.startswith("--"):
                spelled += [word, *rest] if word == "--" else [word]
                rest = [] if word == "--" else rest
                continue
            name, equals, value = word.partition("=")
            flag = self._flag(name)
            hint = self._types.get(flag.removeprefix("--").removesuffix("+"))
            if hint is None or self._option_string_actions[flag].nargs == "+":
                spelled.append(flag + equals + value)
                continue
            if not equals and hint is bool and not (rest and rest[0].lower() in _SWITCHED):
                value = "true"
            elif not equals:
                if not rest or rest[0].startswith("--"):
                    self.error(f"{flag} needs a value")
                value = rest.pop(0)
            spelled.append(f"{flag}={self._checked(flag, value, hint)}")
        return spelled

    def _flag(self, flag: str) -> str:
        """The flag as the parser knows it."""
        flags = self._option_string_actions
        known = flag if flag in flags else f"--{flag[2:].replace('-', '_')}"
        if known not in flags and not any(known.startswith(f"--{name}.") for name in self._types):
            names = [name[2:] for name in flags if name.startswith("--") and not name.endswith("+")]
            self.error(f"no option {flag}{did_you_mean(flag[2:], names, '--')}")
        return known

    def _checked(self, flag: str, value: str, hint: Any) -> str:
        """A flag's value; a single word stands for a list of it."""
        if choices_of(hint) and item_type(hint) is not None and not flag.endswith("+"):
            value = value if value.startswith("[") else f"[{value}]"
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError:  # text that only looks like YAML
            read = value
        kind = given_type(hint)
        if (kind in (bool, int, float) or choices_of(hint)) and not flag.endswith("+"):
            told = wrong_value(flag, read, hint)
            if told is not None:
                self.error(told)
        return value

    def _make_readable(self, positional: Collection[str]) -> None:
        """Values by their kind, groups by their prefix, and a usage of one line: 90 flags bury a message."""
        groups = groups_of(self._types)
        for action in self._actions:
            if action.dest in self._types and action.option_strings:
                action.metavar = _value_of(self._types[action.dest])
            elif action.dest in groups:
                action.help = SUPPRESS  # a file for a group: --optim FILE works, and nobody needs it
        for group in self._action_groups:
            shown = [action.dest for action in group._group_actions if action.dest in self._types]
            prefixes = {name.rpartition(".")[0] for name in shown}
            if shown and prefixes == {""}:
                group.title = "settings"
            elif len(prefixes) == 1:
                group.title = f"{(group.title or '').rstrip('.')} (--{prefixes.pop()}.…)".replace("``", "")
        needed = [
            f"--{a.dest} {a.metavar or a.dest.upper()}"
            for a in self._actions
            if a.required and a.option_strings
        ]
        self.usage = " ".join(
            [
                "%(prog)s",
                *(name.upper() for name in positional),
                *needed,
                "[--config FILE]",
                "[--SETTING VALUE ...]",
            ]
        )


class SettingsFile(ActionConfigFile):
    """Reads a file and checks it at once, while its name is known; jsonargparse alone checks at the end."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Adds the file's settings to those before it.

        Raises:
            TypeError: No such file, not YAML, an unknown setting or a wrong value.
        """
        wrong = parser.wrong_in(_mapping_in(values))
        if wrong:
            raise TypeError("\n".join(f"{values}: {each}" for each in wrong))
        exits, parser.exit_on_error = parser.exit_on_error, False
        try:
            super().__call__(parser, cfg, values, option_string)
            parser.validate(cfg, skip_required=True)
        except (ArgumentError, TypeError, KeyError) as error:
            raise TypeError(f"{values}: {error}") from error
        finally:
            parser.exit_on_error = exits


def _mapping_in(path: str) -> Mapping[Any, Any]:
    """The settings in a file; none where there is nothing to read, which the parser tells."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return content if isinstance(content, Mapping) else {}


def _as_yaml(value: Any) -> str:
    """A default as a file would have it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_as_yaml, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _value_of(hint: Any) -> str:
    """How help calls a value: N, X, PATH, a|b, [a|b,…]."""
    if (item := item_type(hint)) is not None:
        return f"[{_value_of(item)},…]"
    names: dict[Any, str] = {int: "N", float: "X", bool: "true|false", Path: "PATH", str: "TEXT"}
    return "|".join(choices_of(hint)) or names.get(given_type(hint), "VALUE")
