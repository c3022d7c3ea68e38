"""Document frequencies for CIDEr-D rewards, in a file: in how many pictures' captions each n-gram occurs.

The file is JSON, compressed by gzip (whose checksum tells a damaged one) and described in docs/formats.md.
N-grams of a single picture are left out: CIDEr weighs them as it weighs those never seen, so no score
changes, and the file is a fifth of the size. Counts belong to one way of cutting captions: the protocol and
the version of its segmenter are in the file, and a reader who cuts otherwise is refused.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from captioning.folders import file_written_aside, sha256_of
from eval.cider import END
from eval.ngrams import DocumentFrequencies
from eval.protocols import PROTOCOLS, Protocol, find_protocol

FORMAT = "tushuo-ngrams/1"


class FrequenciesError(ValueError):
    """A file of document frequencies that cannot be used; the message says how to make the right one."""


def reward_protocol(segmenter: str) -> Protocol:
    """How captions are cut for rewards: by the protocol that has this segmenter, else by AIC-ICC's with it.

    Args:
        segmenter: jieba (aic-icc), chars (chars), whitespace (coco-cn), or an installed package's.

    Raises:
        ValueError: no such segmenter; those there are are listed.
    """
    for name, protocol in PROTOCOLS.items():
        if protocol.segmenter.name == segmenter:
            return find_protocol(name)
    return find_protocol("aic-icc", segmenter)


def reward_tokens(protocol: Protocol, captions: Iterable[str]) -> list[list[str]]:
    """The tokens of some captions with the end that rewards want; see ``eval.cider.END``."""
    return [[*protocol.cut(caption), END] for caption in captions]


def write_frequencies(
    path: Path, frequencies: DocumentFrequencies, protocol: Protocol, sources: Iterable[Path]
) -> None:
    """Writes a file whole or not at all; equal content gives equal bytes.

    Args:
        path: the file, whatever its suffix.
        frequencies: of tokens by ``reward_tokens``.
        protocol: what cut them.
        sources: the caption files; their names and SHA-256 are noted.

    Raises:
        OSError: the disk is full or not writable; what was under ``path`` before is untouched.
    """
    shared = {" ".join(ngram): count for ngram, count in frequencies.counts.items() if count > 1}
    values = {
        "format": FORMAT,
        "protocol": protocol.name,
        "segmenter": protocol.segmenter.name,
        "version": protocol.version(),
        "steps": _steps(protocol),
        "n_images": frequencies.n_images,
        "sources": [{"name": source.name, "sha256": sha256_of(source)} for source in sources],
        "counts": dict(sorted(shared.items())),
    }
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    with file_written_aside(path) as aside:
        aside.write_bytes(gzip.compress(text.encode("utf-8", "surrogatepass"), mtime=0))


def read_frequencies(path: Path, protocol: Protocol) -> DocumentFrequencies:
    """What ``write_frequencies`` wrote, for captions that this protocol cuts.

    Raises:
        FrequenciesError: the file is missing, damaged, something else, or counted under another protocol or
            another version of the segmenter.
    """
    values = _read_values(path)
    wanted = {"protocol": protocol.name, "version": protocol.version(), "steps": _steps(protocol)}
    for name, ours in wanted.items():
        if values.get(name) != ours:
            raise FrequenciesError(
                f"{path}: counted under {name} {values.get(name)!r}, captions are cut under {ours!r}; "
                f"{_count_again(protocol.segmenter.name)}"
            )
    counts, n_images = values.get("counts"), values.get("n_images")
    if (
        not isinstance(counts, dict)
        or type(n_images) is not int
        or not all(type(count) is int and 1 < count <= n_images for count in counts.values())
    ):
        raise FrequenciesError(
            f"{path}: counts must be whole numbers from 2 to n_images ({n_images!r}); the file was changed, "
            f"{_count_again(protocol.segmenter.name)}"
        )
    return DocumentFrequencies(
        counts={tuple(ngram.split(" ")): count for ngram, count in counts.items()},
        n_images=n_images,
        protocol=protocol.name,
    )


def _steps(protocol: Protocol) -> list[str]:
    return [*protocol.steps, f"append {END}"]


def _count_again(segmenter: str = "SEGMENTER") -> str:
    return (
        f"count again: python -m captioning.count_ngrams --captions FILE --segmenter {segmenter} --out FILE"
    )


def _read_values(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(gzip.decompress(path.read_bytes()).decode("utf-8", "surrogatepass"))
    except FileNotFoundError:
        raise FrequenciesError(f"{path}: not found; {_count_again()}") from None
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise FrequenciesError(
            f"{path}: not compressed JSON ({error}), wanted a file of document frequencies; {_count_again()}"
        ) from error
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        raise FrequenciesError(f"{path}: format {found!r}, wanted {FORMAT!r}; {_count_again()}")
    return values
