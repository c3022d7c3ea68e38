"""Checkpoint folders: written aside, sealed by a manifest, renamed; verified before they are read.

A folder holds what a captioner needs (``config.json``, ``model.safetensors``, ``vocab.txt``,
``tushuo.json``), what a resumed run needs besides (``training.safetensors``, ``training.json``), how the
weights were converted (``conversion.json``) and, written last, ``manifest.json`` with the SHA-256 of all the
others. A folder without a true manifest does not count.
Nothing is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel
from transformers.utils import logging as hf_logging

from captioning.config import PrefixConfig
from captioning.decode_config import DecodeConfig
from captioning.folders import fsync, sha256_of, write_json, written_aside
from captioning.lexicon_info import LexiconInfo
from captioning.tokenizer import VOCABULARY_FILE, CaptionTokenizer
from oscar.modeling import OscarForCaptioning

FORMAT = "tushuo-checkpoint/1"
INFO, MANIFEST, MODEL = "tushuo.json", "manifest.json", "model.safetensors"
STATE, STATE_TENSORS = "training.json", "training.safetensors"
CONVERSION = "conversion.json"
REQUIRED = frozenset(("config.json", MODEL, VOCABULARY_FILE))


class CheckpointError(ValueError):
    """A checkpoint that is not whole, not ours, or not for this purpose; the message names the file."""


@dataclass(frozen=True, kw_only=True)
class DetectorInfo:
    """The detector whose regions a captioner was trained on, and alone understands."""

    backend: str
    fingerprint: str
    feature_dim: int
    vocabulary_id: str
    has_globals: bool
    options: dict[str, Any] = field(default_factory=dict, compare=False)
    """Fields of ``DetectorOptions``, to be asked for again; what they do the fingerprint covers."""


@dataclass(frozen=True, kw_only=True)
class CaptionerInfo:
    """``tushuo.json``: all that captioning needs besides weights and vocabulary."""

    objective: str
    detector: DetectorInfo
    lexicon: LexiconInfo
    prefix: PrefixConfig
    decode: DecodeConfig
    step: int
    scores: dict[str, float]
    """Validation scores of these weights by metric name, such as ``cider``; empty if never validated."""
    training: dict[str, Any]
    """The settings of the run, for the record."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``from_json`` reads them back."""
        return {"format": FORMAT, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CaptionerInfo:
        """Reads ``to_json``'s values.

        Raises:
            KeyError, TypeError, ValueError: a field is missing, unknown or out of range.
        """
        return cls(
            objective=values["objective"],
            detector=DetectorInfo(**values["detector"]),
            lexicon=LexiconInfo(**values["lexicon"]),
            prefix=PrefixConfig(**values["prefix"]),
            decode=DecodeConfig(**values["decode"]),
            step=values["step"],
            scores=values["scores"],
            training=values["training"],
        )


@dataclass(frozen=True, kw_only=True)
class CaptionerCheckpoint:
    """A captioner read from a folder; the model is in fp32, on the CPU, in evaluation mode."""

    model: OscarForCaptioning
    tokenizer: CaptionTokenizer
    info: CaptionerInfo


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """What a resumed run reads besides the weights: optimizer tensors, and plain values."""

    tensors: dict[str, torch.Tensor]
    values: dict[str, Any]


def write_checkpoint(
    folder: Path,
    *,
    model: PreTrainedModel,
    weights: Mapping[str, torch.Tensor] | None = None,
    tokenizer: CaptionTokenizer,
    info: CaptionerInfo | None,
    state: TrainingState | None = None,
    conversion: Mapping[str, Any] | None = None,
) -> None:
    """Writes a folder so that a reader finds all of it or none of it, whenever the writer dies.

    Args:
        folder: the checkpoint's own.
        model: its weights and sizes.
        weights: of the model by name, where its own are shared out among processes.
        tokenizer: its vocabulary.
        info: None where it is not known which regions the model reads; it then writes no captions.
        state: what a resumed run needs.
        conversion: the report of converted weights.

    Raises:
        OSError: the disk is full or not writable; an earlier folder of that name is untouched.
    """
    try:
        with written_aside(folder) as aside:
            with _quiet():
                model.save_pretrained(aside, state_dict=None if weights is None else dict(weights))
            tokenizer.save(aside)
            if info is not None:
                write_json(aside / INFO, info.to_json())
            if state is not None:
                save_file(state.tensors, aside / STATE_TENSORS)
                write_json(aside / STATE, state.values)
            if conversion is not None:
                write_json(aside / CONVERSION, conversion)
            _seal(aside)
    except (OSError, SafetensorError) as error:  # safetensors has a type of its own for a full disk
        raise OSError(f"{folder}: not written: {error}. What was there before is untouched.") from error


def verify_checkpoint(folder: Path) -> None:
    """Compares every file with the manifest.

    Raises:
        CheckpointError: a file is missing, changed or cut; the message names it.
    """
    manifest = _read_json(folder / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder / MANIFEST}: format {manifest.get('format')!r}, wanted {FORMAT!r}; "
            "written by another program or version"
        )
    files: Any = manifest.get("files")
    if not _is_list_of_files(files):
        raise CheckpointError(
            f"{folder / MANIFEST}: does not name {', '.join(sorted(REQUIRED))}; it is damaged"
        )
    for name, wanted in files.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(
                f"{path}: missing, but named in {MANIFEST}; restore the folder from its source"
            )
        if path.stat().st_size != wanted["bytes"]:
            raise CheckpointError(
                f"{path}: {path.stat().st_size} bytes, {MANIFEST} says {wanted['bytes']}; "
                "the file was cut or replaced"
            )
        if sha256_of(path) != wanted["sha256"]:
            raise CheckpointError(
                f"{path}: its SHA-256 is not that of {MANIFEST}; the file was changed or damaged"
            )


def _is_list_of_files(files: Any) -> bool:
    return (
        isinstance(files, dict)
        and files.keys() >= REQUIRED
        and not any("/" in name for name in files)
        and all(isinstance(entry, dict) and entry.keys() >= {"bytes", "sha256"} for entry in files.values())
    )


def read_step(folder: Path) -> int | None:
    """The step of a run after which a checkpoint was written; None if it does not say.

    Raises:
        CheckpointError: ``tushuo.json`` is missing or not JSON.
    """
    step = _read_json(folder / INFO).get("step")
    return step if isinstance(step, int) else None


def read_info(folder: Path) -> CaptionerInfo:
    """``tushuo.json`` of a folder.

    Raises:
        CheckpointError: missing, not JSON, or with missing or unknown fields.
    """
    if not (folder / INFO).is_file():
        raise CheckpointError(
            f"{folder}: no {INFO}, so it is not known which detector's regions this model reads. If it is a "
            f"captioner, name a regions file of that detector: python -m captioning.convert {folder} DEST "
            f"--regions FILE; else train one from it: python -m captioning.train --init {folder}"
        )
    values = _read_json(folder / INFO)
    try:
        return CaptionerInfo.from_json(values)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / INFO}: {type(error).__name__}: {error}") from error


def read_captioner(folder: Path) -> CaptionerCheckpoint:
    """Verifies and loads a captioner.

    Raises:
        CheckpointError: the folder is not whole, or holds no captioner.
    """
    if not (folder / MANIFEST).is_file() and not (folder / INFO).is_file():
        raise CheckpointError(
            f"{folder}: no checkpoint of captioning.train. Weights of Oscar, VinVL or Mengzi-Oscar are "
            f"converted first: python -m captioning.convert {folder} DEST --regions FILE"
        )
    verify_checkpoint(folder)
    info = read_info(folder)
    if info.objective == "pretrain":
        raise CheckpointError(
            f"{folder}: pre-trained weights, which write no captions yet; "
            f"train a captioner from them: python -m captioning.train --init {folder}"
        )
    with _quiet():
        model = OscarForCaptioning.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
    return CaptionerCheckpoint(model=model.eval(), tokenizer=CaptionTokenizer.from_folder(folder), info=info)


def read_training_state(folder: Path) -> TrainingState:
    """What ``write_checkpoint`` was given to resume from; the folder must have been verified.

    Raises:
        CheckpointError: the folder holds a captioner alone.
    """
    if not (folder / STATE).is_file():
        raise CheckpointError(
            f"{folder}: no {STATE}; this checkpoint can write captions but not go on training"
        )
    return TrainingState(tensors=load_file(folder / STATE_TENSORS), values=_read_json(folder / STATE))


def export_captioner(source: Path, target: Path, *, scores: Mapping[str, float], half: bool = False) -> None:
    """Writes the captioner of a run's checkpoint without its training state, to be shared.

    Args:
        source: a checkpoint folder.
        target: the new folder.
        scores: what the card says, by metric name.
        half: store the weights in fp16; they are computed with in fp32 all the same.
    """
    read = read_captioner(source)
    training = _without_folders(read.info.training)
    lexicon = dataclasses.replace(read.info.lexicon, name=_without_folders(read.info.lexicon.name))
    info = dataclasses.replace(read.info, scores=dict(scores), training=training, lexicon=lexicon)
    model = read.model.half() if half else read.model
    write_checkpoint(target, model=model, tokenizer=read.tokenizer, info=info)


def _without_folders(settings: Any) -> Any:
    """Settings whose paths are cut to their last name: a shared file says nothing of its maker's folders."""
    if isinstance(settings, Mapping):
        return {name: _without_folders(value) for name, value in settings.items()}
    return Path(settings).name if isinstance(settings, str) and Path(settings).is_absolute() else settings


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars, which flash by and tear the lines of progress."""
    shown = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            hf_logging.enable_progress_bar()


def _seal(folder: Path) -> None:
    """Brings every file to the disk, then the manifest that vouches for them, then the folder."""
    paths = sorted(folder.iterdir())
    with ThreadPoolExecutor() as pool:  # the disk and the hashes need not wait for each other
        synced, hashes = pool.map(fsync, paths), pool.map(sha256_of, paths)
        files = {
            path.name: {"sha256": digest, "bytes": path.stat().st_size}
            for path, _, digest in zip(paths, synced, hashes, strict=True)
        }
    write_json(folder / MANIFEST, {"format": FORMAT, "files": files})
    fsync(folder / MANIFEST)
    fsync(folder)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing; a checkpoint folder of captioning.train holds it") from None
    except ValueError as error:  # covers broken UTF-8 and broken JSON
        raise CheckpointError(f"{path}: not JSON ({error}); the file is damaged") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: a JSON {type(values).__name__}, wanted an object")
    return values
