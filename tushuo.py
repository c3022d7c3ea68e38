"""The ``tushuo`` command: one name for every command of the project.

``tushuo train --steps 10`` runs ``python -m captioning.train --steps 10``. Nothing of the project is imported
before the command is known, so ``tushuo --help`` answers at once.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from importlib.metadata import version

COMMANDS = {
    "extract": ("features.extract", "find the regions of every picture in a folder and write one HDF5 file"),
    "verify": ("features.verify", "list every problem of a regions file"),
    "export": ("features.export", "write regions as Oscar TSV, M2 HDF5 or npz files"),
    "import-tsv": ("features.import_tsv", "make a regions file of features that Oscar or VinVL published"),
    "preview": ("features.preview", "draw regions and their Chinese names into the pictures"),
    "selfcheck": ("features.selfcheck", "compare a detector with features that somebody published"),
    "train-detector": ("features.train_detector", "train the mini detector on PASCAL VOC"),
    "clean": ("captioning.clean", "clean a text corpus or the captions of a data set"),
    "validate": ("captioning.validate", "list every problem of caption files and corpora; count, convert"),
    "train": ("captioning.train", "train a captioner; without arguments, a one-minute run on the samples"),
    "count-ngrams": (
        "captioning.count_ngrams",
        "count a training split's n-grams, for self-critical training",
    ),
    "caption": ("captioning.caption", "caption a folder of pictures or a file of regions"),
    "convert": ("captioning.convert", "bring weights of Oscar, VinVL, Mengzi-Oscar or BERT to our format"),
    "doctor": ("captioning.doctor", "check this machine and say how to cure what is missing"),
    "eval": ("eval", "score captions against captions written by people"),
    "app": ("app", "browse pictures, captions and regions on this machine"),
}
"""Name of the command -> (the module that ``python -m`` runs, what it does)."""


def usage() -> str:
    """The help text: every command with what it does."""
    lines = [f"  {name:<15} {purpose}" for name, (_, purpose) in COMMANDS.items()]
    head = "usage: tushuo COMMAND [options]\n\nChinese captions for your pictures.\n\ncommands:\n"
    return head + "\n".join(lines) + "\n\n`tushuo COMMAND --help` lists the options of a command.\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` (the process's own arguments by default) names; exit code 2 if none does.

    A command ends the process by itself with its own exit code.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        sys.stderr.write(usage())
        return 2
    name, rest = arguments[0], arguments[1:]
    if name in ("-h", "--help"):
        sys.stdout.write(usage())
        return 0
    if name == "--version":
        sys.stdout.write(f"tushuo {version('tushuo')}\n")
        return 0
    if name not in COMMANDS:
        sys.stderr.write(f"tushuo: unknown command {name!r}; choose from {', '.join(COMMANDS)}\n")
        return 2
    module, _ = COMMANDS[name]
    sys.argv = [f"tushuo {name}", *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
