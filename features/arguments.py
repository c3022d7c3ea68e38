"""Command lines from dataclasses: a field is a flag, its docstring is its help."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from docstring_parser import parse_from_object
from jsonargparse import ArgumentParser

__all__ = ["parse_config"]


def parse_config(
    command: str, config_class: type[Any], argv: list[str] | None, positional: Collection[str] = ()
) -> Any:
    """Flags and YAML -> the dataclass; switches take no value, ``--a_b`` may be written ``--a-b``.

    A field that is a dataclass itself gives dotted flags (``--selection.min_score``).

    Args:
        command: As in ``python -m command``.
        config_class: A dataclass; fields without default are required.
        argv: Arguments; those of the process by default.
        positional: Fields that are given by their place, in the order of the dataclass, not by a flag; of a
            list there must be one or more.

    Raises:
        SystemExit: With code 2 for anything wrong, 0 after ``--help`` or ``--print_config``.
    """
    description = (config_class.__doc__ or "").strip().splitlines()[0]
    parser = ArgumentParser(prog=f"python -m {command}", description=description)
    parser.add_argument("--config", action="config", help="YAML file with any of these settings")
    _add_flags(parser, config_class, positional)
    values = parser.parse_args(argv)
    try:
        return _built(config_class, values)
    except ValueError as error:
        parser.error(str(error))


def _add_flags(
    parser: ArgumentParser, config_class: type[Any], positional: Collection[str] = (), prefix: str = ""
) -> None:
    texts = {param.arg_name: param.description for param in parse_from_object(config_class).params}
    types = get_type_hints(config_class)
    for field in fields(config_class):
        if is_dataclass(types[field.name]):
            _add_flags(parser, types[field.name], prefix=f"{prefix}{field.name}.")
            continue
        names = dict.fromkeys([field.name, field.name.replace("_", "-")])
        settings: dict[str, Any] = {"help": " ".join((texts.get(field.name) or "").split())}
        if field.name in positional:
            kind = types[field.name]
            if get_origin(kind) is list:
                (kind,), settings["nargs"] = get_args(kind), "+"
            parser.add_argument(field.name, type=kind, **settings)
            continue
        if types[field.name] is bool:
            settings["action"] = "store_true"
        else:
            settings["type"] = types[field.name]
            settings |= {"required": True} if field.default is MISSING else {"default": field.default}
        parser.add_argument(*(f"--{prefix}{name}" for name in names), **settings)


def _built(config_class: type[Any], values: Any) -> Any:
    types = get_type_hints(config_class)
    return config_class(
        **{
            field.name: _built(types[field.name], values[field.name])
            if is_dataclass(types[field.name])
            else values[field.name]
            for field in fields(config_class)
        }
    )
