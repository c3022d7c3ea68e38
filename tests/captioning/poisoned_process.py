"""A training run in each process of a launcher, in the second of which the loss of one step is no number."""

from __future__ import annotations

import math
import os
import sys

import captioning.steps
from captioning.train import main

STEP = 4

if __name__ == "__main__":
    real = captioning.steps._word_loss
    if os.environ["RANK"] == "1":
        captioning.steps._word_loss = lambda *inputs: (
            real(*inputs) * (math.nan if inputs[-1] == STEP - 1 else 1.0)
        )
    sys.exit(main(sys.argv[1:]))
