"""Command lines from dataclasses: a field is a flag, its docstring is its help."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from docstring_parser import parse_from_object
from jsonargparse import ArgumentParser

__all__ = ["parse_config"]


def parse_config(
    command: str, config_class: type[Any], argv: list[str] | None, positional: Collection[str] = ()
) -> Any:
    """Flags and YAML -> the dataclass; switches take no value, ``--a_b`` may be written ``--a-b``.

    Args:
        command: As in ``python -m command``.
        config_class: A dataclass; fields without default are required.
        argv: Arguments; those of the process by default.
        positional: Fields that are given by their place, in the order of the dataclass, not by a flag.

    Raises:
        SystemExit: With code 2 for anything wrong, 0 after ``--help`` or ``--print_config``.
    """
    description = (config_class.__doc__ or "").strip().splitlines()[0]
    parser = ArgumentParser(prog=f"python -m {command}", description=description)
    parser.add_argument("--config", action="config", help="YAML file with any of these settings")
    texts = {param.arg_name: param.description for param in parse_from_object(config_class).params}
    types = get_type_hints(config_class)
    for field in fields(config_class):
        flags = list(dict.fromkeys([f"--{field.name}", f"--{field.name.replace('_', '-')}"]))
        settings: dict[str, Any] = {"help": " ".join((texts.get(field.name) or "").split())}
        if field.name in positional:
            parser.add_argument(field.name, type=types[field.name], **settings)
            continue
        if types[field.name] is bool:
            settings["action"] = "store_true"
        else:
            settings["type"] = types[field.name]
            settings |= {"required": True} if field.default is MISSING else {"default": field.default}
        parser.add_argument(*flags, **settings)
    values = parser.parse_args(argv)
    try:
        return config_class(**{field.name: values[field.name] for field in fields(config_class)})
    except ValueError as error:
        parser.error(str(error))
