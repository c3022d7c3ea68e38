"""What the model's benchmarks run: a model of BERT-base size with seeded weights, inputs of Oscar's sizes.

Both are written to a folder, so that the original reads the very same numbers in a process of its own.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from oscar.configuration import OscarConfig
from oscar.modeling import OscarForCaptioning

TAGS, REGIONS, REGION_WIDTH, STEPS = 30, 50, 2054, 20
CAPTION_SLOTS = 40
CLS, SEP, MASK = 101, 102, 103  # of Chinese BERT, and the defaults of OscarConfig
N_PICTURES = 32
CAPTION_PIECES = (12, 24)  # [CLS] and [SEP] included; Chinese captions of 10 to 22 characters
TIED = "cls.predictions.decoder.weight"
WEIGHTS, INPUTS = "model.safetensors", "inputs.safetensors"


def write(folder: Path) -> None:
    """Weights and inputs, always the same ones."""
    torch.manual_seed(0)
    model = OscarForCaptioning(OscarConfig())
    with torch.no_grad():  # no caption ends by itself: every run takes all the steps
        model.cls.predictions.bias[SEP] = -1e4
    state = {name: value.contiguous() for name, value in model.state_dict().items() if name != TIED}
    save_file(state, folder / WEIGHTS)
    save_file(inputs(), folder / INPUTS)


def load(folder: Path, dtype: torch.dtype = torch.float32) -> tuple[OscarForCaptioning, dict[str, Tensor]]:
    """The model, in eval mode, and the inputs."""
    model = OscarForCaptioning(OscarConfig())
    missing, unexpected = model.load_state_dict(load_file(folder / WEIGHTS), strict=False)
    if unexpected or missing != [TIED]:
        raise RuntimeError(f"the benchmark's own weights do not fit: {missing}, {unexpected}")
    inputs = load_file(folder / INPUTS)
    inputs["region_features"] = inputs["region_features"].to(dtype)
    model.to(dtype)  # type: ignore[arg-type]  # transformers' wrapper loses the self
    return model.eval(), inputs


def inputs() -> dict[str, Tensor]:
    """Tags (32, 30), regions (32, 50, 2054), captions (32, 40) padded with 0, and which pieces are masked."""
    generator = torch.Generator().manual_seed(1)

    def pieces(*shape: int) -> Tensor:
        return torch.randint(670, 8000, shape, generator=generator)  # Chinese characters

    lengths = torch.randint(CAPTION_PIECES[0], CAPTION_PIECES[1] + 1, (N_PICTURES,), generator=generator)
    captions = torch.zeros(N_PICTURES, CAPTION_SLOTS, dtype=torch.long)
    masked = torch.zeros_like(captions, dtype=torch.bool)
    for row, length in enumerate(lengths.tolist()):
        captions[row, :length] = pieces(length)
        captions[row, 0], captions[row, length - 1] = CLS, SEP
        chosen = 1 + torch.randperm(length - 1, generator=generator)[: min(3, max(1, round(0.15 * length)))]
        masked[row, chosen] = True
    tags = pieces(N_PICTURES, TAGS)
    tags[:, -1] = SEP
    return {
        "tag_ids": tags,
        "region_features": torch.randn(N_PICTURES, REGIONS, REGION_WIDTH, generator=generator),
        "captions": captions,
        "masked": masked,
    }
