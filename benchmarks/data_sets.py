"""Reading training data and joining it with a regions file of half a million pictures.

    OMP_NUM_THREADS=1 python -m benchmarks.data_sets --out benchmarks/results/data_sets.json

Read are 500,000 texts of 100,000 pictures (two captions and three questions each) as a corpus of Oscar+ and
as pairs, joined 500,000 captioned pictures with a regions file of as many (without regions in it: a join
reads names alone), under equal and under different forms of their names, the opening of the file included.
Times are of the processor, the best of three, so that other work on the machine counts little; memory is
the most that the reading process held. Takes some three minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from benchmarks.results import tell
from captioning.caption_record import CaptionRecord
from captioning.joins import join
from captioning.pairs import pair_lines
from captioning.records import read_records
from features.schema import Regions, StoreMeta
from features.store import RegionStore, write_shard

N_PICTURES = 500_000
TEXTS_A_PICTURE, CAPTIONS_A_PICTURE = 5, 2
ROUNDS = 3


def write_corpus(folder: Path, n_texts: int) -> Path:
    """A corpus of one data set; its YAML file."""
    labels = folder / "labels"
    labels.mkdir()
    with (folder / "corpus.tsv").open("w") as corpus, (labels / "QA_fileB.tsv").open("w") as answers:
        for number in range(n_texts):
            picture, which = divmod(number, TEXTS_A_PICTURE)
            if which < CAPTIONS_A_PICTURE:
                corpus.write(
                    f"coco_{picture}\tcoco_{picture}\t草地上有一只狗在追飞盘，旁边站着{number}个人\n"
                )
            else:
                corpus.write(f"coco_{picture}\tcoco_qa_{picture}_{number}\t图中第{number}个人在做什么？\n")
                answer = {"labels": ["是" if number % 2 else "不是"]}
                answers.write(f"{number}\t{json.dumps(answer, ensure_ascii=False)}\n")
    path = folder / "corpus.yaml"
    path.write_text("corpus: coco\ncorpus_file: corpus.tsv\nimage_label_path: {coco: labels}\n")
    return path


def write_store(path: Path, image_ids: list[str]) -> None:
    """A regions file of pictures without regions."""
    none = np.empty((0, 4), np.float32)
    meta = StoreMeta(
        backend="synthetic", description={}, vocabulary=("thing",), vocabulary_id="synthetic", feature_dim=8
    )
    pictures = [
        Regions(
            image_id=image_id,
            width=1,
            height=1,
            features=np.empty((0, 8), np.float16),
            boxes=none,
            geometry=np.empty((0, 6), np.float32),
            object_ids=np.empty(0, np.int32),
            object_scores=np.empty(0, np.float32),
        )
        for image_id in image_ids
    ]
    write_shard(path, pictures, meta, {})


def seconds(work: Callable[[], object]) -> float:
    """Processor time, the best of some rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return round(min(times), 2)


def reading(path: Path) -> dict[str, Any]:
    """Time of reading a file, and memory of a process that does nothing else (on Linux)."""
    program = f"""
from pathlib import Path
from captioning.records import read_records
records = read_records(Path({str(path)!r}), "train")
(line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(line.split()[1]) * 1024 / 1e6)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {
        "seconds": seconds(lambda: read_records(path, "train")),
        "megabytes": round(float(ran.stdout)),
    }


def open_and_join(records: Sequence[CaptionRecord], path: Path) -> None:
    """As training does it, with what it tells."""
    join(records, RegionStore(path)).report()


def joins(folder: Path) -> dict[str, float]:
    """Time of a join, by what the names of either side look like."""
    numbers = [f"{number * 7919 % 10**9:09}" for number in range(N_PICTURES)]
    tenth = N_PICTURES // 10
    plain = [f"{number}.jpg" for number in numbers]
    captioned = {
        "the same names": (plain, plain),
        "a tenth lacking on either side": (plain[tenth:] + [f"x{name}" for name in plain[:tenth]], plain),
        "folders on one side": (plain, [f"train/{name}" for name in plain]),
        "Karpathy's names and VinVL's numbers": (
            [f"val2014/COCO_val2014_{number:012}.jpg" for number in range(N_PICTURES)],
            [str(number) for number in range(N_PICTURES)],
        ),
    }
    found = {}
    for name, (ours, theirs) in captioned.items():
        records = [CaptionRecord(image_id=image_id, captions=("狗",), split="train") for image_id in ours]
        path = folder / "regions.h5"
        write_store(path, theirs)
        found[name] = seconds(partial(open_and_join, records, path))
        path.unlink()
    return found


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = write_corpus(folder, N_PICTURES)
        pairs = folder / "pairs.jsonl"
        with pairs.open("w", encoding="utf-8") as file:
            file.writelines(pair_lines(read_records(corpus, "train")))
        result = {
            "machine": machine(),
            "texts": N_PICTURES,
            "pictures_joined": N_PICTURES,
            "reading": {"corpus": reading(corpus), "pairs": reading(pairs)},
            "join_seconds": joins(folder),
        }
    tell(result, out)


if __name__ == "__main__":
    main()
