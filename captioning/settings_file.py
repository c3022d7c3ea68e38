"""The ``--config`` flag of the commands: a YAML file whose mistakes are told with its name."""

from __future__ import annotations

from argparse import ArgumentError
from typing import Any

from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]  # public, but not in its __all__


class SettingsFile(ActionConfigFile):
    """Reads a file and checks it at once, while its name is known; jsonargparse alone checks at the end."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Adds the file's settings to those before it.

        Raises:
            TypeError: No such file, not YAML, an unknown setting or a wrong value.
        """
        exits, parser.exit_on_error = parser.exit_on_error, False
        try:
            super().__call__(parser, cfg, values, option_string)
            parser.validate(cfg, skip_required=True)
        except (ArgumentError, TypeError, KeyError) as error:
            raise TypeError(f"{values}: {error}") from error
        finally:
            parser.exit_on_error = exits
