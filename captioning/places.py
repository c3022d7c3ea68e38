"""Where a checkpoint is: bundled, a folder, or a repository of the hub."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path

from captioning.checkpoints import CheckpointError

MINI = "mini"
"""The name of the bundled captioner."""
MINI_LICENCE = (
    "The mini models' weights are for non-commercial use: they were trained on Flickr8k pictures "
    "(non-commercial research). See examples/mini/LICENSE."
)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def mini_folder() -> Path:
    """The bundled captioner's checkpoint folder, whether or not it is there."""
    return Path(str(files("examples"))) / "mini" / "captioner"


def checkpoint_folder(name_or_path: str | Path) -> Path:
    """Where a checkpoint is: bundled, a folder, or downloaded from the hub.

    Raises:
        CheckpointError: Nowhere.
    """
    if str(name_or_path) == MINI:
        folder = mini_folder()
        if not folder.is_dir():
            raise CheckpointError(
                f"{folder}: the mini captioner is not there; install the package again "
                "(pip install --force-reinstall tushuo), or train one: python -m captioning.train"
            )
        return folder
    path = Path(name_or_path)
    if path.is_dir():
        return path
    if path.exists():
        raise CheckpointError(f"{path}: a file; a checkpoint is the folder that holds tushuo.json")
    if _HUB_ID.fullmatch(str(name_or_path)):
        return _download(str(name_or_path))
    raise CheckpointError(
        f"{name_or_path}: no such checkpoint; give 'mini', a folder of captioning.train "
        "(such as build/mini-run/best), or a hub id (owner/name)"
    )


def _download(hub_id: str) -> Path:
    """The local folder of a hub repository's checkpoint, taken from the cache where it is there."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=["*.json", "*.safetensors", "*.txt"]))
    except OSError as error:  # no such repository, no connection, nothing cached
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{hub_id}: no folder of this name here, and not to be had from the hub: {reason}"
        ) from error


@cache
def say_licence() -> None:
    """Tell the terms of the mini weights, once a process."""
    sys.stderr.write(MINI_LICENCE + "\n")
