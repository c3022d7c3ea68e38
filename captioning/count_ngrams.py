"""``python -m captioning.count_ngrams --captions F [F …] --segmenter jieba --out F``: n-grams for rewards.

Counts in how many pictures of a training split each run of 1 to 4 tokens occurs, for the CIDEr-D reward of
``captioning.train --objective scst``. A picture that several files caption counts once.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from captioning.frequencies import reward_protocol, reward_tokens, write_frequencies
from captioning.records import file_and_parts, read_records
from eval.ngrams import DocumentFrequencies
from eval.segmentation import already_cut
from features.arguments import parse_config


@dataclass(frozen=True, kw_only=True)
class CountConfig:
    """Count the n-grams of a training split, for the rewards of self-critical training."""

    captions: list[Path]
    """Files with the captions of the training split, in any format that training reads; of a Karpathy file
    FILE#train+restval."""
    out: Path
    """The file to write, e.g. ngrams.json.gz."""
    segmenter: str = "jieba"
    """What cuts captions: jieba (words, protocol aic-icc), chars, whitespace, or an installed package's."""
    processes: int = 0
    """Processes that cut captions; 0 for one a core. The counts do not depend on it."""

    def __post_init__(self) -> None:
        reward_protocol(self.segmenter)
        files = [path.resolve() for path in self.captions]
        for path in self.captions:
            if files.count(path.resolve()) > 1:
                raise ValueError(f"captions: {path} is named twice")
        if self.out.resolve() in files:
            raise ValueError(f"out: {self.out} holds captions; name another file")
        if self.processes < 0:
            raise ValueError(f"processes must be 0 or more, got {self.processes}")


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 counted, 1 refused with the reason on stderr, 2 usage."""
    config = parse(argv)
    try:
        sys.stdout.write(count(config) + "\n")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"captioning.count_ngrams: {error}\n")
        return 1
    return 0


def parse(argv: list[str] | None) -> CountConfig:
    """Flags and YAML to settings; exits with code 2 for anything wrong."""
    config: CountConfig = parse_config("captioning.count_ngrams", CountConfig, argv, several=("captions",))
    return config


def count(config: CountConfig) -> str:
    """Read, cut, count, write; what to tell of it.

    Raises:
        ValueError: a caption file cannot be read; the message has file, record and field.
        OSError: the output cannot be written.
    """
    captions: dict[str, list[str]] = {}
    for path in config.captions:
        for record in read_records(path, "train"):
            if texts := [text for text, second in record.texts() if second is None or not second.is_answer]:
                captions.setdefault(record.image_id, []).extend(texts)  # no questions
    protocol = reward_protocol(config.segmenter)
    cut = already_cut(protocol, captions.values(), processes=config.processes or os.cpu_count() or 1)
    frequencies = DocumentFrequencies.of(
        [reward_tokens(cut, texts) for texts in captions.values()], protocol.name
    )
    write_frequencies(
        config.out, frequencies, protocol, [file_and_parts(path)[0] for path in config.captions]
    )
    shared = sum(n_pictures > 1 for n_pictures in frequencies.counts.values())
    return (
        f"{config.out}: {frequencies.n_images} pictures with {sum(map(len, captions.values()))} captions, "
        f"{len(frequencies.counts)} n-grams of 1 to 4 {protocol.unit}, {shared} of them in two or more "
        f"pictures; protocol {protocol.name} ({protocol.version()})"
    )


if __name__ == "__main__":
    sys.exit(main())
