"""One extraction on a Ray cluster, whose actors do its shards.

Ray Data hands the shards to a pool of actors, each with a detector of its own, and starts an actor again
that was lost with its machine. The actors run the very extraction of ``features.extract --shard i/N`` and
seal the same files, so nothing rests on what Ray remembers: a lost actor costs what it had not sealed, the
same command goes on after any crash, and the file equals that of a run without Ray. Every machine has to see
the pictures, the weights and the output under the same paths.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from features.extract_config import ExtractConfig
from features.extraction import WorkerLost
from features.locks import Shard, door, locked
from features.output import delete_output
from features.plan import plan
from features.report import Report

__all__ = ["ShardActor", "extract_on_ray"]

_SHARDS_AN_ACTOR = 8
"""Few, for each looks at all that is sealed; enough that all actors end at about the same time."""
_SECONDS = ("model_seconds", "waiting_seconds", "writing_seconds")


class _Silent:
    """The counter of an actor's pictures: Ray shows its own progress, in shards."""

    def count(self, *, failed: bool) -> None: ...


class ShardActor:
    """A detector that does one shard of an extraction after the other.

    Args:
        config: Of the whole extraction.
        n_shards: It is cut into.
    """

    def __init__(self, config: ExtractConfig, n_shards: int) -> None:
        self._whole = plan(config, lambda _total: nullcontext(_Silent()))
        self._n_shards = n_shards

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """Do the shards ``batch["shard"]``: pictures and seconds of each, and what went wrong, else ""."""
        reports, errors = [], []
        for index in batch["shard"].tolist():
            report, error = Report(), ""
            try:
                report = replace(self._whole, shard=Shard(index=index, count=self._n_shards)).run()
            except (OSError, ValueError, WorkerLost) as met:
                error = str(met)
            reports.append(report)
            errors.append(error)
        names = ("extracted", *_SECONDS)
        return {name: [getattr(report, name) for report in reports] for name in names} | {"error": errors}


def extract_on_ray(config: ExtractConfig, n_actors: int) -> Report:
    """Run the extraction in so many actors of the cluster of ``RAY_ADDRESS``, else of one started here.

    Raises:
        OSError: No such folder, no pictures in it, or the disk.
        ValueError: Settings that do not fit, what an actor met, or no Ray.
        WorkerLost: Ray gave up; what was done is sealed.
    """
    started = time.perf_counter()
    _check_ray()
    overwrite, config = config.overwrite, replace(_everywhere(config), overwrite=False)
    # What is wrong with the settings is said before anything is deleted and Ray starts.
    whole = plan(replace(config, device="auto"))
    if overwrite:
        with locked(config.out, wait=config.wait), door(config.out):
            delete_output(config.out)
    try:
        done = _map(config, n_actors)
    except KeyboardInterrupt:
        sealed = whole.look(repair=False)
        return Report(ok=len(sealed.done), failed=sealed.failed, signal=signal.SIGINT)
    if errors := sorted({row["error"] for row in done} - {""}):
        raise ValueError("; ".join(errors))
    report = whole.run()  # all is sealed and merged, unless an actor was stopped
    return replace(
        report,
        extracted=report.extracted + sum(row["extracted"] for row in done),
        seconds=time.perf_counter() - started,
        **{name: sum(row[name] for row in done) / n_actors for name in _SECONDS},
    )


def _check_ray() -> None:
    if find_spec("ray") is None:
        raise ValueError("Ray is not installed: pip install 'tushuo[ray]'")


def _everywhere(config: ExtractConfig) -> ExtractConfig:
    """The same settings, whatever folder an actor works in."""
    return replace(
        config,
        images=config.images.absolute(),
        out=config.out.absolute(),
        boxes=_absolute(config.boxes),
        weights=_absolute(config.weights),
    )


def _absolute(path: Path | None) -> Path | None:
    return path.absolute() if path is not None and path.exists() else path  # else a name of published weights


def _map(config: ExtractConfig, n_actors: int) -> list[dict[str, Any]]:
    """What the actors say of each shard."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray reports to its makers
    import ray

    n_shards = _SHARDS_AN_ACTOR * n_actors
    # Of a lost actor something may live on for seconds, and hold its lock: whoever gets its shard waits.
    config = replace(config, wait=True, workers=1 if config.workers is None else config.workers)
    ray.init(log_to_driver=False)
    has_gpus = ray.cluster_resources().get("GPU", 0) > 0
    try:
        shards = ray.data.from_items([{"shard": n} for n in range(n_shards)], override_num_blocks=n_shards)
        return shards.map_batches(
            ShardActor,
            fn_constructor_args=(config, n_shards),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=n_actors, max_tasks_in_flight_per_actor=1),
            num_cpus=1,
            num_gpus=int(config.device == "cuda" or (config.device == "auto" and has_gpus)),
        ).take_all()
    except ray.exceptions.RayError as error:
        raise WorkerLost(
            f"Ray gave up: {error}. What was done is sealed; run the same command again."
        ) from error
    finally:
        ray.shutdown()
