"""Names and choices of a command's settings, and what somebody meant who wrote another one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from difflib import SequenceMatcher
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = [
    "choices_of",
    "did_you_mean",
    "given_type",
    "groups_of",
    "item_type",
    "types_of",
    "wrong_settings",
    "wrong_value",
]

_ALIKE = 0.6
"""Likeness (difflib's ratio) from which a name is offered."""


_NUMBERS = {bool: "true or false", int: "a whole number", float: "a number"}


def types_of(config_class: type[Any], prefix: str = "") -> dict[str, Any]:
    """Types of all settings by dotted name, those of dataclasses within included."""
    hints = get_type_hints(config_class)
    found: dict[str, Any] = {}
    for field in fields(config_class):
        hint = hints[field.name]
        if isinstance(hint, type) and is_dataclass(hint):
            found |= types_of(hint, f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = hint
    return found


def groups_of(names: Collection[str]) -> set[str]:
    """What stands before the dots of dotted names: ``a`` and ``a.b`` of ``a.b.c``."""
    return {name[:place] for name in names for place, letter in enumerate(name) if letter == "."}


def given_type(hint: Any) -> Any:
    """The type of a setting that may also be empty: ``int`` of ``int | None``."""
    parts = [part for part in get_args(hint) if part is not NoneType]
    return parts[0] if get_origin(hint) in (Union, UnionType) and len(parts) == 1 else hint


def item_type(hint: Any) -> Any:
    """The type of each of several values; None if a setting takes one."""
    hint = given_type(hint)
    return get_args(hint)[0] if get_origin(hint) in (list, tuple) else None


def choices_of(hint: Any) -> tuple[str, ...]:
    """The words that a setting, or each of its list, takes; none if it takes any."""
    one = given_type(item_type(hint) or hint)
    words = get_args(one) if get_origin(one) is Literal else ()
    return tuple(word for word in words if isinstance(word, str))


def did_you_mean(name: str, names: Collection[str], mark: str = "") -> str:
    """``; did you mean NAME?`` of the likest name, by all of it or by what follows its last dot; "" of none.

    Args:
        name: as somebody wrote it.
        names: those that there are.
        mark: stands before the name, as flags have it.
    """

    def likeness(known: str) -> float:
        ends = (known.rpartition(".")[2], name.rpartition(".")[2])
        whole = SequenceMatcher(None, known, name).ratio()
        return max(whole, 0.99 * SequenceMatcher(None, *ends).ratio())

    best = max(sorted(names), key=likeness, default="")
    return f"; did you mean {mark}{best}?" if best and likeness(best) >= _ALIKE else ""


def wrong_value(name: str, value: Any, hint: Any) -> str | None:
    """What to tell of a value that is plainly no value of a setting; None if it may be one.

    Args:
        name: of the setting.
        value: as YAML reads it.
        hint: the setting's type.
    """
    kind, item, choices = given_type(hint), item_type(hint), choices_of(hint)
    optional = " or null" if kind is not hint else ""
    if value is None:
        return None if optional or kind is Any else f"{name} is empty, and needs a value"
    if item is not None and not isinstance(value, list):
        return f"{name} is {value!r}, wanted a list{optional}, as in [one, two]"
    for word in value if item is not None else [value]:
        if choices and not (isinstance(word, str) and word in choices):
            return f"{name} is {word!r}, choose from {', '.join(choices)}{did_you_mean(str(word), choices)}"
    if kind in _NUMBERS and not _reads_as(kind, value):
        return f"{name} is {value!r}, wanted {_NUMBERS[kind]}{optional}"
    return None


def _reads_as(kind: type[bool | int | float], value: Any) -> bool:
    if kind is bool or isinstance(value, bool | list | dict):
        return kind is bool and isinstance(value, bool)
    try:
        kind(value)
    except ValueError:
        return False
    return True


def wrong_settings(
    settings: Mapping[Any, Any], types: Mapping[str, Any], group: str = "", where: str = ""
) -> Iterator[str]:
    """What to tell of unknown names and wrong words in settings as a YAML file nests them.

    Args:
        settings: of the file, or of a group in it.
        types: of all settings, by dotted name.
        group: whose settings these are, with its dot.
        where: stands before every name: the item of a list.
    """
    groups = groups_of(types)
    for key, value in settings.items():
        name = f"{group}{key}"
        if name in types:
            yield from _wrong_value(f"{where}{name}", value, types[name])
        elif name in groups:
            if isinstance(value, Mapping):
                yield from wrong_settings(value, types, f"{name}.", where)
        else:
            alike = groups if isinstance(value, Mapping) else types.keys()
            yield f"no setting {where}{name}{did_you_mean(name, alike)}"


def _wrong_value(name: str, value: Any, hint: Any) -> Iterator[str]:
    item = item_type(hint)
    if isinstance(item, type) and is_dataclass(item) and isinstance(value, list):
        for number, each in enumerate(value):
            if isinstance(each, Mapping):
                yield from wrong_settings(each, types_of(item), where=f"{name}[{number}].")
    elif (told := wrong_value(name, value, hint)) is not None:
        yield told
