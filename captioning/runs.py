"""A run before its first step: data, vocabulary, model, and the checkpoint from which it goes on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioning.checkpoints import (
    INFO,
    CaptionerInfo,
    CheckpointError,
    TrainingState,
    read_info,
    read_training_state,
)
from captioning.config import Objective, TrainConfig
from captioning.dataset import CaptionedPictures, Source
from captioning.detector_match import check_detector, detector_of
from captioning.examples import GEOMETRY_WIDTH
from captioning.initial import initial_folder, make_model, make_tokenizer
from captioning.joins import join
from captioning.lexicon_info import LexiconInfo
from captioning.rewards import Rewards
from captioning.run_folder import clear, damage_of_best, is_main_process, newest_checkpoint, recover
from captioning.scst import self_critical_step
from captioning.steps import STEPS, Step
from captioning.tokenizer import CaptionTokenizer
from captioning.training_data import (
    all_texts,
    data_hashes,
    open_regions,
    read_sources,
    read_training_file,
    refuse_missing_files,
    sha256_of_texts,
)
from features.store import RegionStore
from features.tags import Lexicon
from oscar.modeling import OscarForCaptioning, OscarForPreTraining

FREE_KEYS = frozenset(
    (
        "out",
        "overwrite",
        "dry_run",
        "track",
        "guard",
        "log_every",
        "save_every",
        "keep_last",
        "device",
        "precision",
        "data.images",
        "data.lexicon",
        "data.regions",
        "data.train",
        "data.validation",
        "data.memory_gb",
        "data.workers",
        "parallel",
        "scst.frequencies",
        "scst.reward_workers",
        "validation.batch_size",
        "gradient_checkpointing",
    )
)
"""Settings, and groups of them, that a resumed run may change: they change no weight of a sound run, or only
its last bits, which is told. Data may move; their content is compared."""


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Where a run goes on."""

    folder: Path
    state: TrainingState


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that training starts from."""

    config: TrainConfig
    tokenizer: CaptionTokenizer
    model: OscarForCaptioning | OscarForPreTraining
    steps: Mapping[Objective, Step]
    """Of each objective."""
    training: CaptionedPictures
    validation: CaptionedPictures | None
    info: CaptionerInfo
    """As of step 0; each checkpoint writes its own step and scores."""
    data: dict[str, str]
    """Hashes of what was read."""
    resume: Resume | None
    notes: tuple[str, ...]
    """What to tell before the first step."""


def prepare(config: TrainConfig) -> Run:
    """Reads the data, builds or resumes the model.

    Raises:
        ValueError: anything that makes the run impossible, with file and cure; the readers' own errors are
            ValueErrors too.
    """
    refuse_missing_files(config)
    store = open_regions(config)
    lexicon = Lexicon.load(config.data.lexicon, store.vocabulary_id, store.vocabulary)
    sources, notes = read_sources(config, store)
    resume, resume_notes = find_resume(config)
    notes += resume_notes

    folder, init_notes = starting_weights(config, resume, store)
    notes += init_notes
    tokenizer = make_tokenizer(
        folder, all_texts(sources), [lexicon.chinese(i) or "" for i in range(len(store.vocabulary))]
    )
    model, told = make_model(config, folder, tokenizer, store.feature_dim + GEOMETRY_WIDTH)
    training = CaptionedPictures(sources, lexicon, tokenizer, config)
    validation = None
    if config.data.validation is not None:
        captions = read_training_file(config, config.data.validation, "validation")
        held_out = join(captions.records, store)
        notes += [f"validation: {line}" for line in (*captions.notes, *held_out.report())]
        records = held_out.records[: config.validation.pictures]
        validation = CaptionedPictures([Source(records=records, store=store)], lexicon, tokenizer, config)
    data = data_hashes(lexicon, training, validation)
    steps: dict[Objective, Step] = {}
    for objective in config.objectives:
        if objective == "scst":
            rewards = Rewards(training.records, config.scst)
            data["segmenter and document frequencies of the reward"] = sha256_of_texts(rewards.identity)
            notes.append(str(rewards))
            steps[objective] = self_critical_step(config, tokenizer, rewards)
        else:
            steps[objective] = STEPS[objective](config.loss)
    if resume is not None:
        refuse_differences(config, data, resume)
    return Run(
        config=config,
        tokenizer=tokenizer,
        model=model,
        steps=steps,
        training=training,
        validation=validation,
        info=CaptionerInfo(
            objective=config.objective,
            detector=detector_of(store),
            lexicon=LexiconInfo.of(lexicon),
            prefix=config.data.prefix,
            decode=config.decode,
            step=0,
            scores={},
            training=plain(config),
        ),
        data=data,
        resume=resume,
        notes=(*notes, *([] if resume else told)),
    )


def starting_weights(
    config: TrainConfig, resume: Resume | None, store: RegionStore
) -> tuple[Path | None, list[str]]:
    """The folder whose weights and vocabulary a run with ``init`` begins with, and what to tell of it.

    A run that goes on has its own, and needs the first ones no more.

    Raises:
        ValueError: no such weights, or they read the regions of another detector.
    """
    if config.init is None:
        return None, []
    if resume is not None:
        return resume.folder, []
    folder = initial_folder(config.init)
    if not (folder / INFO).is_file():
        return folder, []
    info = read_info(folder)
    check_detector(
        store,
        info.detector,
        f"init {folder} learned to read",
        f"If it shall learn to read the new ones, give a copy of the folder without {INFO}.",
    )
    was, now = dataclasses.asdict(info.prefix), dataclasses.asdict(config.data.prefix)
    return folder, [
        f"init {folder} learned with data.prefix.{key} {before}; this run has {after}"
        for key, before, after in differences(was, now)
    ]


def find_resume(config: TrainConfig) -> tuple[Resume | None, list[str]]:
    """The newest whole checkpoint of the run's folder, and what to tell of it.

    With ``overwrite`` an earlier run in the folder is removed.

    Raises:
        CheckpointError: the folder has checkpoints, but none that is whole.
    """
    run = config.out
    if config.overwrite:
        if is_main_process():
            clear(run)
        return None, []
    if is_main_process() and not config.dry_run:
        recover(run)
    folder, passed_over = newest_checkpoint(run)
    notes = [f"checkpoint passed over: {reason}" for reason in passed_over]
    if folder is None:
        if passed_over:
            raise CheckpointError(
                f"{run}: no checkpoint is whole, there is nothing to go on from: {'; '.join(passed_over)}. "
                "Start anew with --overwrite true, or choose another --out."
            )
        return None, notes
    if damage := damage_of_best(run, folder):
        notes.append(f"the best checkpoint is damaged, and stays so until a better one comes: {damage}")
    return Resume(folder=folder, state=read_training_state(folder)), [*notes, f"going on from {folder}"]


def refuse_differences(config: TrainConfig, data: Mapping[str, str], resume: Resume) -> None:
    """A resumed run is the same run; a setting that is newer than it had the value that is the default now.

    Raises:
        ValueError: settings or data differ; the message names each.
    """
    values = resume.state.values
    before, after = filled(values["config"], plain(TrainConfig())), plain(config)
    for each in (before, after):  # files may move; of the data sets beside the first, weights are compared
        each["data"]["more"] = [source["weight"] for source in each["data"]["more"]]
    differing = [
        f"{key} is {now!r}, was {was!r}"
        for key, was, now in differences(before, after)
        if FREE_KEYS.isdisjoint((key, key.partition(".")[0]))
    ]
    hashed = {key: data.get(key) for key in values["data"]}  # an older run hashed less
    differing += [f"the {key} have other content" for key, _, _ in differences(values["data"], hashed)]
    if differing:
        raise ValueError(
            f"{config.out} holds a run with other settings: {'; '.join(differing)}. "
            "Give the same ones to go on, --overwrite true to start anew, or another --out."
        )


def filled(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with defaults for those that are missing, also in groups."""
    found = dict(defaults)
    for key, value in values.items():
        default = defaults.get(key)
        groups = isinstance(value, Mapping) and isinstance(default, Mapping)
        found[key] = filled(value, default) if groups else value  # type: ignore[arg-type]
    return found


def differences(was: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[tuple[str, Any, Any]]:
    """Dotted keys whose values differ, with both values; a missing key counts as None."""
    found: list[tuple[str, Any, Any]] = []
    for key in sorted(was.keys() | now.keys()):
        before, after = was.get(key), now.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{path}{key}.")
        elif before != after:
            found.append((path + key, before, after))
    return found


def plain(config: TrainConfig) -> dict[str, Any]:
    """The settings as JSON knows them."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return values
