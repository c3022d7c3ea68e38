"""Training runs as their folders tell of them: curves, settings and model cards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

LOG, SETTINGS, CARD, INFO = "log.jsonl", "config.yaml", "README.md", "tushuo.json"
MOST_RUNS = 200
LONGEST_CARD = 100_000
"""Characters."""
_NO_CURVE = frozenset(("step", "steps", "eta_seconds"))

Points = list[tuple[int, float]]
"""Step, value."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run."""

    name: str
    """Of its folder, with those above it that tell it from others."""
    training: Mapping[str, Points]
    """Name of a number -> its curve, of training steps."""
    validation: Mapping[str, Points]
    settings: Mapping[str, str]
    """Setting, with dots between its parts -> value as YAML writes it."""


def find_runs(folders: Sequence[Path]) -> dict[str, Path]:
    """Name -> folder of every run in the folders: one that holds a log, there or one or two levels below."""
    found: list[Path] = []
    for folder in folders:
        for pattern in (LOG, f"*/{LOG}", f"*/*/{LOG}"):
            found += sorted(path.parent for path in folder.glob(pattern))
    runs: dict[str, Path] = {}
    for path in dict.fromkeys(found[:MOST_RUNS]):
        parts = path.absolute().parts
        names = ("/".join(parts[-depth:]) for depth in range(1, len(parts) + 1))
        runs[next(name for name in names if name not in runs)] = path
    return runs


def read_run(name: str, folder: Path) -> Run:
    """What a run has told so far; lines that are not whole are passed over."""
    training: dict[str, dict[int, float]] = {}
    validation: dict[str, dict[int, float]] = {}
    for event in _events(folder / LOG):
        curves = {"step": training, "validation": validation}.get(str(event.get("event")))
        step = event.get("step")
        if curves is None or not isinstance(step, int):
            continue
        for key, value in event.items():
            if key not in _NO_CURVE and _is_number(value):
                curves.setdefault(key, {})[step] = float(value)  # told again after a restart: the last counts
    return Run(
        name=name,
        training={key: sorted(points.items()) for key, points in training.items()},
        validation={key: sorted(points.items()) for key, points in validation.items()},
        settings=_settings(folder / SETTINGS),
    )


def differences(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """The settings in which runs differ: name, then the value of each."""
    names = sorted({name for run in runs for name in run.settings})
    rows = [(name, *(run.settings.get(name, "") for run in runs)) for name in names]
    return [row for row in rows if len(set(row[1:])) > 1]


def card(checkpoint: str) -> tuple[str, str]:
    """The model card and the record of a checkpoint folder; "" for what it does not have."""
    folder = Path(str(files("examples"))) / "mini" / "captioner" if checkpoint == "mini" else Path(checkpoint)
    return _text(folder / CARD), _text(folder / INFO)


def without_pictures(markdown: str) -> str:
    """The same text with pictures as links: they would be fetched from wherever it says."""
    return markdown.replace("![", "&#33;[")


def _events(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if isinstance(event, dict):
                    yield event
    except OSError:
        return


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


def _settings(path: Path) -> dict[str, str]:
    try:
        return dict(_flat(yaml.safe_load(_text(path))))
    except (yaml.YAMLError, RecursionError):
        return {}


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif name:
        yield name, json.dumps(value, ensure_ascii=False, default=str)


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(LONGEST_CARD)
    except OSError:
        return ""
