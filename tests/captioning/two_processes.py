"""Training runs one after another, in each process of a launcher: ``torchrun … two_processes.py FILE …``."""

from __future__ import annotations

import sys

import torch

from captioning.train import main

if __name__ == "__main__":
    torch.set_num_threads(1)
    for path in sys.argv[1:]:
        if code := main(["--config", path]):
            sys.exit(code)
