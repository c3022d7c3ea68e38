"""``python -m features.extract --images DIR``: the regions of every picture of a folder, in one HDF5 file.

Resumes by default: what is sealed is not done again, and pictures that were added since are extracted
and merged. ``--shard i/N`` shares the work among any processes that see one file system, ``--devices``
among the devices of a machine, ``--ray`` among those of a cluster. Exit codes: 0 all pictures, 3 some could
not be used (they are listed, and recorded in the file), 2 wrong usage, 1 nothing could be done, 130 and 143
after SIGINT and SIGTERM (everything that was done is sealed).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

from features.arguments import parse_config
from features.backends.base import DetectorOptions, pick_device
from features.devices import devices_of, extract_on_devices
from features.dry_run import estimate
from features.extract_config import ExtractConfig
from features.extraction import WorkerLost
from features.extractor import RegionExtractor
from features.plan import plan
from features.preview import PreviewConfig, preview
from features.progress import failure_lines, n_pictures, printable, say
from features.ray_extract import extract_on_ray
from features.report import Report, peak_memory

__all__ = ["DetectorOptions", "ExtractConfig", "RegionExtractor", "extract", "main"]

OK, FATAL = 0, 1


def extract(config: ExtractConfig) -> Report:
    """Do what the command does, less its last words.

    Raises:
        OSError: No such folder, no pictures in it, or the disk.
        ValueError: Weights, a back end or an output that do not fit; too many pictures that failed.
        WorkerLost: A process was killed.
    """
    if config.devices is not None:
        return extract_on_devices(config, devices_of(config.devices))
    if config.ray is not None:
        return extract_on_ray(config, config.ray)
    return plan(config).run()


def _dry_run(config: ExtractConfig) -> Iterator[str]:
    """What the extraction would take.

    Raises:
        features.locks.OutputError: More room than there is.
    """
    devices = [config.device] if config.devices is None else devices_of(config.devices)
    extraction = plan(replace(config, device=devices[0], devices=None))
    shared = pick_device(devices[0]).type == "cpu"
    found = estimate(extraction, len(devices), shared_cores=shared)
    yield from found.lines()
    if found.disk is not None:
        found.disk.check(config.out)


def _summary(config: ExtractConfig, report: Report) -> Iterator[str]:
    yield from failure_lines(report.failed)
    counts = f"{report.ok} ok / {len(report.failed)} failed"
    if report.signal is not None:
        yield f"stopped: {counts} so far, all sealed; run the same command to go on"
        return
    if report.complete:
        size = config.out.stat().st_size / 1e6
        yield f"{counts} -> {printable(str(config.out))} ({size:.1f} MB)"
    else:
        out = printable(str(config.out))
        yield f"shard {config.shard}: {counts} so far, of all shards; the one that ends last writes {out}"
    if report.others and report.complete:
        yield f"the file holds {n_pictures(report.others)} more, of earlier runs"
    if report.extracted == 0:
        yield "nothing to do: " + (
            f"every picture was tried before; {len(report.failed)} failed, --retry_failed tries them again"
            if report.failed
            else "every picture was extracted before"
        )
        return
    own, worker = peak_memory()
    yield (
        f"{n_pictures(report.extracted)} in {report.seconds:.1f} s: "
        f"{report.extracted / report.seconds:.1f} pictures/s, "
        f"{report.model_seconds / report.seconds:.0%} of the time in the model, "
        f"{report.waiting_seconds / report.seconds:.0%} waiting for pictures, "
        f"{report.writing_seconds / report.seconds:.0%} for the disk, "
        f"{report.merge_seconds / report.seconds:.0%} merging, peak memory {own:.0f} MB"
        + (f" (a decode process {worker:.0f} MB, mostly shared with it)" if worker else "")
    )


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    config: ExtractConfig = parse_config("features.extract", ExtractConfig, argv)
    try:
        if config.dry_run:
            for line in _dry_run(config):
                sys.stdout.write(line + "\n")
            return OK
        if config.preview is not None and config.preview.exists():  # said now, not after hours
            raise FileExistsError(f"{config.preview}: exists; give another --preview")
        report = extract(config)
    except (OSError, ValueError, WorkerLost) as error:
        sys.stderr.write(f"error: {printable(str(error))}\n")
        return FATAL
    for line in _summary(config, report):
        sys.stdout.write(line + "\n")
    if config.preview is not None and report.complete:
        try:
            preview(PreviewConfig(regions=config.out, images=config.images, out=config.preview))
        except (OSError, ValueError) as error:  # the regions are none the worse for it
            say(f"no preview: {error}")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
