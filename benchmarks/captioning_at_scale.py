"""What `captioning.caption` makes of many pictures, beside the rates of its stages alone.

    python -m benchmarks.captioning_at_scale --out benchmarks/results/captioning_at_scale.json

The samples are repeated: as links in a folder, and under other ids in a regions file. Every stage is a
process of its own, and its rate counts from the first picture on, so that no start-up is in it. On a CPU both
stages of ``--images`` want the same cores; the last share therefore compares with the two stages in turn.
Extraction of 20,000 pictures takes most of an hour on two cores; ``--links`` sets its number apart.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.machine import gemm_gflops, machine, peak_megabytes
from benchmarks.results import tell
from captioning.captioner import Captioner
from features.images import find_images
from features.store import Regions, RegionStore, merge_shards, write_shard

SAMPLES = Path("examples/images")
SHARD = 500  # pictures held in memory while the regions file is made
BATCH = 16  # of captioning.caption


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What one process did."""

    pictures: int
    seconds: float
    """Without start-up."""
    peak_mb: int
    gemm_gflops: float
    """Rate of the machine's matrix products just before: it has slow phases."""

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.pictures / self.seconds


def ids(n_pictures: int) -> Iterator[tuple[str, str]]:
    """A new id and the sample it stands for, so many times."""
    samples = find_images(SAMPLES)
    for number in range(n_pictures):
        sample = samples[number % len(samples)]
        yield f"{number // 1000:03d}/{number:06d}{Path(sample).suffix}", sample


def link_samples(folder: Path, n_pictures: int) -> None:
    """A folder of hard links: symbolic ones would lead out of it, and are not followed."""
    for name, sample in ids(n_pictures):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(SAMPLES / sample)


def repeat_regions(source: Path, out: Path, n_pictures: int) -> None:
    """A regions file of so many pictures, made of the samples' regions."""
    shards: list[Path] = []
    with RegionStore(source) as store:
        held = {name: store.regions(name) for name in store.image_ids}
        records: list[Regions] = []
        for number, (name, sample) in enumerate(ids(n_pictures), start=1):
            records.append(replace(held[sample], image_id=name))
            if len(records) == SHARD or number == n_pictures:
                shards.append(out.with_name(f"shard-{len(shards)}.h5"))
                write_shard(shards[-1], records, store.meta)
                records = []
    merge_shards(shards, out)
    for shard in shards:
        shard.unlink()


def caption_alone(features: Path, n_pictures: int) -> float:
    """Seconds of the captioner over regions at hand: no order of lengths, no parts, nothing written."""
    captioner = Captioner.from_pretrained()
    with RegionStore(features) as store:
        names = store.image_ids[:n_pictures]
        captioner.caption_regions([store.regions(name) for name in names[:BATCH]])
        started = time.perf_counter()
        for first in range(0, len(names), BATCH):
            captioner.caption_regions([store.regions(name) for name in names[first : first + BATCH]])
        return time.perf_counter() - started


def measure(pictures: int, *words: str) -> Stage:
    """Run a command that says its seconds, and ends well."""
    gflops = round(gemm_gflops(), 1)
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([sys.executable, "-m", *words], stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        said.seek(0)
        text = said.read()
    found = re.findall(r"([\d.]+) s\b", text)
    if os.waitstatus_to_exitcode(status) or not found:
        sys.exit(f"{' '.join(words)} failed:\n{text}")
    peak_mb = round(peak_megabytes(usage))
    return Stage(pictures=pictures, seconds=float(found[-1]), peak_mb=peak_mb, gemm_gflops=gflops)


def stages(folder: Path, n_links: int, n_regions: int) -> dict[str, Stage]:
    """Every measurement, in a folder for what it writes."""
    links, samples, regions = folder / "links", folder / "samples.h5", folder / "regions.h5"
    link_samples(links, n_links)
    extract = ("features.extract", "--backend", "mini", "--images")
    caption = "captioning.caption"
    measure(0, *extract, str(SAMPLES), "--out", str(samples))
    repeat_regions(samples, regions, n_regions)
    few = max(1, n_regions // 10)
    alone = ("benchmarks.captioning_at_scale", "--alone", str(regions), "--pictures", str(few))
    from_regions = (caption, "--features", str(regions), "--out")
    return {
        "extraction alone": measure(n_links, *extract, str(links), "--out", str(folder / "links.h5")),
        "captions alone": measure(few, *alone),
        "caption --features": measure(n_regions, *from_regions, str(folder / "all.jsonl")),
        "caption --features, a tenth": measure(
            few, *from_regions, str(folder / "few.jsonl"), "--limit", str(few)
        ),
        "caption --images": measure(
            n_links, caption, "--images", str(links), "--out", str(folder / "links.jsonl")
        ),
    }


def compare(found: dict[str, Stage]) -> dict[str, float]:
    """The commands' rates over those of their stages."""
    extraction, captions = found["extraction alone"].rate, found["captions alone"].rate
    images = found["caption --images"].rate
    shares = {
        "caption --features / captions alone": found["caption --features"].rate / captions,
        "caption --images / slower stage alone": images / min(extraction, captions),
        "caption --images / both stages in turn": images * (1 / extraction + 1 / captions),
    }
    return {name: round(share, 3) for name, share in shares.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=20_000, help="in the regions file")
    parser.add_argument("--links", type=int, help="in the folder of pictures; as many if empty")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.alone:
        print(f"{caption_alone(arguments.alone, arguments.pictures):.3f} s")
        return
    # Beside the samples, where hard links can be made.
    with tempfile.TemporaryDirectory(dir=".", prefix=".captioning_at_scale-") as folder:
        found = stages(Path(folder), arguments.links or arguments.pictures, arguments.pictures)
    result = {
        "what": "mini detector and captioner, beam 5, samples repeated",
        "machine": machine(),
        "stages": {
            name: asdict(stage) | {"pictures_per_second": round(stage.rate, 2)}
            for name, stage in found.items()
        },
        "shares": compare(found),
    }
    tell(result, arguments.out)


if __name__ == "__main__":
    main()
