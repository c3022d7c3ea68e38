"""What a run learns from: caption files joined with their regions files, and the hashes of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from captioning.config import SourceConfig, TrainConfig
from captioning.dataset import CaptionedPictures, Source
from captioning.joins import join
from captioning.records import CaptionFile, file_and_parts, import_commands, read_caption_file
from features.store import RegionStore
from features.tags import Lexicon


def refuse_missing_files(config: TrainConfig) -> None:
    """Names the first caption file that is not there."""
    paths = {"data.train": config.data.train, "data.validation": config.data.validation}
    paths |= {f"data.more[{i}].captions": source.captions for i, source in enumerate(config.data.more)}
    for name, path in paths.items():
        if path is not None and not file_and_parts(path)[0].is_file():
            raise ValueError(f"{name}: {path} not found; give the annotation file with --{name} FILE")


def read_sources(config: TrainConfig, store: RegionStore) -> tuple[list[Source], list[str]]:
    """The data sets to train on, joined with their regions, and what either side lacks.

    Args:
        config: the run.
        store: the regions of ``data.regions``.

    Raises:
        ValueError: a file cannot be read, or its regions are of another detector.
    """
    data = config.data
    same = {"fingerprint": store.fingerprint, "has_globals": store.has_globals}
    stores = {data.regions: store}
    sources, notes = [], []
    for source in (SourceConfig(captions=data.train, weight=data.weight), *data.more):
        regions = source.regions or data.regions
        if regions not in stores:
            stores[regions] = RegionStore(regions, expect=same)
        captions = read_training_file(config, source.captions, "train")
        found = join(captions.records, stores[regions])
        where = f" ({source.captions})" if data.more else ""
        notes += [f"training{where}: {line}" for line in (*captions.notes, *found.report())]
        sources.append(Source(records=found.records, store=stores[regions], weight=source.weight))
    return sources, notes


def read_training_file(config: TrainConfig, path: Path, split: str) -> CaptionFile:
    """The captions of a split, with the tags that the run wants.

    Raises:
        ValueError: it cannot be read, or has questions in a run that writes captions.
    """
    captions = read_caption_file(path, split, tags=config.data.tags, lexicon=config.data.lexicon)
    _refuse_questions(config, captions)
    return captions


def _refuse_questions(config: TrainConfig, captions: CaptionFile) -> None:
    """Questions are no captions to be written."""
    n_questions = sum(
        second is not None and second.is_answer for record in captions.records for second in record.seconds
    )
    writing = [name for name in config.objectives if name != "pretrain"]
    if n_questions and writing:
        raise ValueError(
            f"{captions.path}: {n_questions} questions with answers, which objective {writing[0]} would "
            "learn to write as captions; give this file to objective pretrain alone"
        )


def all_texts(sources: Iterable[Source]) -> Iterator[str]:
    """Captions, questions and second texts."""
    for source in sources:
        for record in source.records:
            yield from record.captions
            yield from (second.text for second in record.seconds if second is not None)


def open_regions(config: TrainConfig) -> RegionStore:
    """The regions file.

    Raises:
        ValueError: it does not exist; the message has the command that makes it.
    """
    path = config.data.regions
    if not path.exists():
        captions = [each for each in (config.data.train, config.data.validation) if each is not None]
        if commands := import_commands(captions, path):
            folder = "" if len(commands) == 1 else f", and give --data.regions {path.with_suffix('')}"
            raise ValueError(
                f"data.regions: {path} not found; make it of the features that come with the captions (NAME "
                f"is what you call their release){folder}:\n" + "\n".join(commands)
            )
        images = "examples/images" if path == type(config.data)().regions else "DIR"
        raise ValueError(
            f"data.regions: {path} not found; make it with "
            f"`python -m features.extract --images {images} --out {path}`"
        )
    return RegionStore(path)


def data_hashes(
    lexicon: Lexicon, training: CaptionedPictures, validation: CaptionedPictures | None
) -> dict[str, str]:
    """SHA-256 of all that decides what the model reads."""
    stores = [source.store for source in training.sources]
    return {
        "regions": sha256_of_texts(
            [text for store in stores for text in (store.fingerprint, *store.image_ids)]
        ),
        "pictures of the regions": sha256_of_texts([store.digest() for store in stores]),
        "lexicon": lexicon.sha256,
        "training captions": sha256_of_texts(_texts(training)),
        "validation captions": sha256_of_texts(_texts(validation)),
    }


def _texts(pictures: CaptionedPictures | None) -> list[str]:
    """Pictures and all texts, those behind a mark being second ones."""
    texts: list[str] = []
    for record in () if pictures is None else pictures.records:
        texts += [record.image_id, *record.captions]
        texts += [f"\0{second and second.text}" for second in record.seconds]
    return texts


def sha256_of_texts(texts: list[str]) -> str:
    """In hexadecimal digits; which text ends where counts."""
    return hashlib.sha256(json.dumps(texts, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
