"""What draws the curves of a run: TensorBoard, Weights & Biases.

``TRACKERS`` is the table; a tracker takes numbers, samples and the settings of a run, each with the step.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import yaml
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from captioning.config import TrackerName
from captioning.event_log import CURVES_FOLDER
from captioning.sample_pictures import Sample

JPEG_QUALITY = 85


class Tracker(Protocol):
    """Something that draws."""

    def settings(self, settings: Mapping[str, Any], step: int) -> None:
        """Takes the settings of the run when a process begins it or goes on with it."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Takes a point of each curve, by ``section/name``."""

    def samples(self, samples: Sequence[Sample], step: int) -> None:
        """Takes captions as they are, with their pictures."""

    def close(self) -> None:
        """Nothing more will come."""


class TensorBoard:
    """Event files in ``RUN/tensorboard``, for ``tensorboard --logdir RUN``."""

    def __init__(self, run: Path, step: int) -> None:
        """Opens a new file; what earlier ones hold beyond ``step``, a killed process wrote, and is hidden."""
        self._writer = SummaryWriter(str(run / CURVES_FOLDER), purge_step=step + 1)

    def settings(self, settings: Mapping[str, Any], step: int) -> None:
        """As text, in YAML."""
        text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
        self._writer.add_text("settings", f"```yaml\n{text}```", step)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """As curves."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # of a run that is killed, the curves too reach to its last checkpoint

    def samples(self, samples: Sequence[Sample], step: int) -> None:
        """As a table of text, and each picture with its captions as an image."""
        rows = [
            f"| {_cell(each.image_id)} | {_cell(each.caption)} | {'<br>'.join(map(_cell, each.references))} |"
            for each in samples
        ]
        table = "\n".join(["| picture | written | by people |", "|---|---|---|", *rows])
        self._writer.add_text("captions", table, step)
        for each in samples:
            if each.picture is not None and self._writer.file_writer is not None:
                # add_image would store PNG, ten times as large for a photograph
                jpeg = io.BytesIO()
                each.picture.save(jpeg, "JPEG", quality=JPEG_QUALITY)
                image = Summary.Image(
                    height=each.picture.height,
                    width=each.picture.width,
                    colorspace=3,
                    encoded_image_string=jpeg.getvalue(),
                )
                value = Summary.Value(tag=f"captions/{each.image_id}", image=image)
                self._writer.file_writer.add_summary(Summary(value=[value]), step)
        self._writer.flush()

    def close(self) -> None:
        """Writes what is left."""
        self._writer.close()


def _wandb(run: Path, step: int) -> Tracker:
    from captioning.wandb_tracker import WeightsAndBiases

    return WeightsAndBiases(run, step)


TRACKERS: dict[TrackerName, Callable[[Path, int], Tracker]] = {"tensorboard": TensorBoard, "wandb": _wandb}
"""Name -> what opens a run's tracker, told the steps taken before."""


def check_trackers(names: Sequence[TrackerName]) -> None:
    """Looks for what a tracker needs, before minutes are spent on reading data.

    Raises:
        ValueError: a package is not installed; the message names the extra.
    """
    if "wandb" in names and find_spec("wandb") is None:
        raise ValueError(
            "track: wandb is not installed here; install it with pip install 'tushuo[wandb]', or leave it "
            "out: --track '[tensorboard]'"
        )


def _cell(text: str) -> str:
    """Text in a cell of a Markdown table, as it stands."""
    for character in "\\`*_{}[]<>#|~":
        text = text.replace(character, f"&#{ord(character)};")
    return text.replace("\n", " ")
