"""One extraction on several devices of a machine: a process each, which is a shard of the extraction."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType

import torch

from features.backends.base import pick_device
from features.decoding import cores, default_workers
from features.extract_config import ExtractConfig
from features.extraction import WorkerLost
from features.locks import door, locked
from features.output import delete_output
from features.plan import plan
from features.progress import ExtractionProgress, say
from features.report import Report
from features.stop import StopRequest

__all__ = ["devices_of", "extract_on_devices"]

_PAUSE = 0.5  # seconds between two looks at whether the run shall stop


def devices_of(text: str) -> list[str]:
    """Read ``--devices``.

    Raises:
        ValueError: None are named, or ``all`` on a machine without a GPU.
    """
    if text == "all":
        names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    else:
        names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ValueError(f"devices {text!r}: no GPU here; name devices, such as cuda:0,cuda:1 or cpu,cpu")
    return names


def extract_on_devices(config: ExtractConfig, devices: Sequence[str]) -> Report:
    """Run the extraction in a process a device, with one line of progress.

    A process that fails does not end the others: what they do is sealed, and another run does the rest.

    Raises:
        OSError: No such folder, or no pictures in it.
        ValueError: Settings or devices that do not fit.
        WorkerLost: A process was killed, or met an error, which the message gives.
    """
    _check_devices(devices)
    # What is wrong is said before anything is deleted or started; and weights are fetched once.
    todo = plan(replace(config, device="cpu", devices=None))
    if advice := uneven(len(todo.image_ids), config.shard_size, len(devices)):
        say(advice)
    if config.overwrite:
        with locked(config.out, wait=config.wait), door(config.out):
            delete_output(config.out)
    context = multiprocessing.get_context("spawn")
    processes: dict[Connection, SpawnProcess] = {}
    with StopRequest() as stop:  # before there are processes, so that none is left behind
        for number, device in enumerate(devices):
            ours, theirs = context.Pipe(duplex=False)
            share = _share(config, device, number, len(devices))
            process = context.Process(target=_work, args=(share, theirs))
            process.start()
            theirs.close()
            processes[ours] = process
        with ExtractionProgress(0) as progress:
            reports, errors = _listen(processes, stop, progress)
    if stop.signal is None and len(reports) + len(errors) < len(devices):
        codes = [process.exitcode for process in processes.values()]
        errors.append(
            f"a device's process ended unexpectedly (exit codes {codes}), usually for want of memory; what "
            "was done is sealed. Run the same command again."
        )
    if errors:
        raise WorkerLost("; ".join(dict.fromkeys(errors)))
    return _together(reports, stop)


def uneven(n_pictures: int, shard_size: int, n_devices: int) -> str:
    """What to do where the first device would get a tenth more than its share; "" where it does not."""
    busiest = sum(
        min(shard_size, n_pictures - start) for start in range(0, n_pictures, shard_size * n_devices)
    )
    if n_pictures < n_devices or busiest * n_devices <= 1.1 * n_pictures:
        return ""
    rounds = -(-n_pictures // (shard_size * n_devices))
    even = -(-n_pictures // (n_devices * rounds))
    return (
        f"pictures are dealt out in runs of --shard_size {shard_size}, so one of {n_devices} devices gets "
        f"{busiest} of {n_pictures}; --shard_size {even} shares them evenly"
    )


def _check_devices(names: Sequence[str]) -> None:
    n_gpus = torch.cuda.device_count()
    for name in names:
        try:
            device = pick_device(name)
        except RuntimeError as error:
            raise ValueError(f"devices: {name!r} is none ({str(error).splitlines()[0]})") from error
        if device.type == "cuda" and (device.index or 0) >= n_gpus:
            raise ValueError(f"devices: there is no {name}, this machine has {n_gpus} GPUs")


def _share(config: ExtractConfig, device: str, number: int, n_devices: int) -> ExtractConfig:
    workers = config.workers
    if workers is None:
        workers = max(1, default_workers(pick_device(device)) // n_devices)
    return replace(
        config,
        device=device,
        devices=None,
        shard=str(config.part.part(number, n_devices)),
        workers=workers,
        overwrite=False,
    )


def _listen(
    processes: dict[Connection, SpawnProcess], stop: StopRequest, progress: ExtractionProgress
) -> tuple[list[Report], list[str]]:
    """Count what the processes tell until the last has ended: their reports, and what went wrong."""
    reports: list[Report] = []
    errors: list[str] = []
    speaking, told = set(processes), False
    while speaking:
        for connection in wait(list(speaking), _PAUSE):
            assert isinstance(connection, Connection)  # noqa: S101  (wait gives back what it was given)
            try:
                message = connection.recv()
            except (EOFError, OSError):  # the process has ended
                processes[connection].join()
                speaking.remove(connection)
                continue
            if isinstance(message, bool):
                progress.count(failed=message)
            elif isinstance(message, int):
                progress.expect(message)
            elif isinstance(message, Report):
                reports.append(message)
            else:
                errors.append(str(message))
        if stop.signal is not None and not told:
            told = True
            for process in processes.values():
                process.terminate()
    return reports, errors


class _Relay:
    """The counter of a device's process: tells the process that shows the progress."""

    def __init__(self, connection: Connection, total: int) -> None:
        self._connection = connection
        connection.send(total)

    def __enter__(self) -> _Relay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def count(self, *, failed: bool) -> None:
        """One more picture is through."""
        with suppress(BrokenPipeError):  # nobody listens any more: this process is about to be stopped
            self._connection.send(failed)


def _work(config: ExtractConfig, connection: Connection) -> None:
    """A device's process."""
    os.setpgrp()  # Ctrl-C reaches the parent alone, which passes it on once
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if torch.device(config.device).type == "cpu":
        torch.set_num_threads(max(1, cores() // config.part.count))
    try:
        connection.send(plan(config, lambda total: _Relay(connection, total)).run())
    except (OSError, ValueError, WorkerLost) as error:
        connection.send(str(error))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)  # seals what is done


def _together(reports: Sequence[Report], stop: StopRequest) -> Report:
    """The reports of all processes as one; the last to end knows most."""
    last = max(reports, key=lambda report: (report.complete, report.ok), default=Report())
    return replace(
        last,
        extracted=sum(report.extracted for report in reports),
        seconds=max((report.seconds for report in reports), default=0.0),
        model_seconds=_mean(report.model_seconds for report in reports),
        waiting_seconds=_mean(report.waiting_seconds for report in reports),
        writing_seconds=_mean(report.writing_seconds for report in reports),
        merge_seconds=last.merge_seconds,
        signal=stop.signal or last.signal,
    )


def _mean(seconds: Iterable[float]) -> float:
    found = list(seconds)
    return sum(found) / max(1, len(found))
