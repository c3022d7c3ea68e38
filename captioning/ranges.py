"""Checks of settings that the dataclasses of several files share."""

from __future__ import annotations


def at_least(config: object, name: str, least: int) -> None:
    """Raises ValueError unless the field is ``least`` or more."""
    value = getattr(config, name)
    if not value >= least:
        raise ValueError(f"{name} must be {least} or more, got {value}")


def positive(config: object, name: str) -> None:
    """Raises ValueError unless the field is above 0."""
    value = getattr(config, name)
    if not value > 0:
        raise ValueError(f"{name} must be above 0, got {value}")


def share(config: object, name: str) -> None:
    """Raises ValueError unless the field lies between 0 and 1."""
    value = getattr(config, name)
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie between 0 and 1, got {value}")
