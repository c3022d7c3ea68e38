"""Weights & Biases (extra ``wandb``); ``WANDB_MODE=offline`` keeps everything on this machine.

Project, entity and mode come from wandb's own environment variables (``WANDB_PROJECT``, …).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from captioning.sample_pictures import Sample

ID_FILE = "wandb-id"


class WeightsAndBiases:
    """A run of the same name as the run's folder."""

    def __init__(self, run: Path, step: int) -> None:
        """Begins a run, or goes on with the one whose id is in the folder where ``step`` steps were taken."""
        import wandb

        kept = run / ID_FILE
        if step == 0 or not kept.exists():
            kept.write_text(uuid.uuid4().hex[:12] + "\n", encoding="utf-8")
        self._wandb = wandb
        self._run = wandb.init(
            dir=str(run),
            project=os.environ.get("WANDB_PROJECT", "tushuo"),
            name=run.name,
            id=kept.read_text(encoding="utf-8").strip(),
            resume="allow",
        )

    def settings(self, settings: Mapping[str, Any], step: int) -> None:
        """As the run's configuration."""
        self._run.config.update(dict(settings), allow_val_change=True)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """As curves; those of a step before one that is known already, wandb passes over."""
        self._run.log(dict(values), step=step)

    def samples(self, samples: Sequence[Sample], step: int) -> None:
        """As a table, and each picture as an image; in one panel they would have to be of one size."""
        table = self._wandb.Table(columns=["picture", "written", "by people"])
        for each in samples:
            table.add_data(each.image_id, each.caption, "\n".join(each.references))
        pictures = {
            f"pictures/{each.image_id}": self._wandb.Image(each.picture, caption=each.caption)
            for each in samples
            if each.picture is not None
        }
        self._run.log({"captions": table, **pictures}, step=step)

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()
