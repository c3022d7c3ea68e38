"""The caption browser with many pictures: time to make its index, to the first page, to a filter; and memory.

    python -m benchmarks.browser --pictures 1000 100000 --out benchmarks/results/browser.json

Pictures are hard links to the samples under other names; captions of two systems (five alternatives each) and
five references a picture are drawn from a small grammar, regions from nothing. Everything is measured as a
reader meets it: ``python -m app`` is started on the files, Chromium opens the page, and a time ends when what
was asked for is on the screen. Each is the median of several.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from benchmarks.results import tell
from features.images import find_images
from features.store import Regions, StoreMeta, box_geometry, write_shard
from features.tags import Lexicon

SAMPLES = Path("examples/images")
SHARD = 1000
SECONDS = 120
BUILD_SECONDS = 1200
ROUNDS = 5
VOCABULARY = Lexicon.load("zh", "voc-20").english

WHO = (
    *("一个男人", "一个女人", "两个孩子", "一只狗", "两只猫", "一群人", "一位老人", "三匹马", "一名运动员"),
    *("一辆公交车", "几只小鸟", "一头牛"),
)
HOW = ("穿着红色衣服的", "戴着帽子的", "黑白相间的", "年轻的", "高大的", "安静的", "忙碌的")
WHERE = (
    "在草地上",
    "在雪地里",
    "在海边",
    "在街道上",
    "在房间里",
    "在树下",
    "在桌子旁边",
    "在火车站",
    "在球场上",
    "在河边",
)
WHAT = (
    "奔跑",
    "玩耍",
    "休息",
    "骑自行车",
    "打网球",
    "看书",
    "吃东西",
    "拍照",
    "跳跃",
    "等待",
    "聊天",
    "表演节目",
)
WORDS = ("自行车", "网球", "草地", "雪地", "公交车")


def sentence(draw: random.Random) -> str:
    """One of some ten thousand captions."""
    how = draw.choice(HOW) if draw.random() < 0.4 else ""
    return f"{how}{draw.choice(WHO)}{draw.choice(WHERE)}{draw.choice(WHAT)}"


def make_collection(folder: Path, n_pictures: int) -> list[str]:
    """Write everything; the arguments with which the app opens it."""
    draw = random.Random(n_pictures)
    ids = link_samples(folder / "pictures", n_pictures)
    for name in ("first", "second"):
        write(folder / f"{name}.json", (prediction(image_id, draw) for image_id in ids))
    write(
        folder / "references.json",
        ({"image_id": image_id, "caption": [sentence(draw) for _ in range(5)]} for image_id in ids),
    )
    write_regions(folder / "regions.h5.parts", ids)
    return [
        *("--images", str(folder / "pictures"), "--regions", str(folder / "regions.h5.parts")),
        *("--predictions", str(folder / "first.json"), str(folder / "second.json")),
        *("--references", str(folder / "references.json")),
    ]


def link_samples(folder: Path, n_pictures: int) -> list[str]:
    """Hard links to copies of the samples: symbolic ones out of the folder are not followed."""
    samples = find_images(SAMPLES)
    originals = folder.parent / "originals"
    originals.mkdir(parents=True)
    for sample in samples:
        shutil.copy(SAMPLES / sample, originals / sample)
    ids = []
    for number in range(n_pictures):
        image_id = f"{number // SHARD:03d}/{number:06d}.jpg"
        path = folder / image_id
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(originals / samples[number % len(samples)], path)
        ids.append(image_id)
    return ids


def prediction(image_id: str, draw: random.Random) -> dict[str, Any]:
    """A record of captioning.caption."""
    alternatives = [
        {"caption": sentence(draw), "log_prob": -4.0 - rank, "score": -0.4 - rank / 10} for rank in range(5)
    ]
    return {"image_id": image_id, **alternatives[0], "alternatives": alternatives}


def write(path: Path, records: Iterator[Mapping[str, Any]]) -> None:
    """A JSON list."""
    path.write_text(json.dumps(list(records), ensure_ascii=False), encoding="utf-8")


def write_regions(folder: Path, ids: list[str]) -> None:
    """Ten regions a picture, in shards."""
    folder.mkdir()
    random_numbers = np.random.default_rng(0)
    meta = StoreMeta(
        backend="mini", description={}, vocabulary=VOCABULARY, vocabulary_id="voc-20", feature_dim=4
    )
    for start in range(0, len(ids), SHARD):
        pictures = [regions(image_id, random_numbers) for image_id in ids[start : start + SHARD]]
        write_shard(folder / f"{start:07d}.h5", pictures, meta)


def regions(image_id: str, random_numbers: np.random.Generator) -> Regions:
    """Any boxes."""
    boxes = np.sort(random_numbers.random((10, 2, 2), np.float32), axis=1).reshape(10, 4) * 300
    return Regions(
        image_id=image_id,
        width=300,
        height=300,
        features=np.zeros((10, 4), np.float16),
        boxes=boxes,
        geometry=box_geometry(boxes, 300, 300),
        object_ids=random_numbers.integers(0, len(VOCABULARY), 10, dtype=np.int32),
        object_scores=np.sort(random_numbers.random(10, np.float32))[::-1].copy(),
    )


@contextmanager
def served(arguments: list[str], log: Path = Path(os.devnull)) -> Iterator[tuple[str, int, float, int]]:
    """The app on some files: address, process, seconds until it answered, most MB until then."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started, most = time.perf_counter(), 0
    words = [sys.executable, "-m", "app", *arguments, "--port", str(port), "--language", "en"]
    with log.open("w") as file:
        app = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}/"
        while time.perf_counter() - started < BUILD_SECONDS:
            if app.poll() is not None:
                raise RuntimeError(f"the app ended with {app.returncode}")
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                time.sleep(0.05)
                most = max(most, sum(megabytes(pid, "VmRSS") for pid in family(app.pid)))
        yield address, app.pid, time.perf_counter() - started, most
    finally:
        app.terminate()
        app.wait(30)


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in children for each in family(int(child)))]


def megabytes(pid: int, field: str) -> int:
    """Memory of a process: VmRSS (held now), VmHWM (the most it held); 0 of one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 // 1_000_000 for line in lines if line.startswith(field)), 0)


def timed(act: Callable[[], object], rounds: int = 1) -> float:
    """Seconds, the median of some rounds."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - started)
    return round(statistics.median(seconds), 3)


class Reader:
    """Somebody with a web browser."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.address = address

    def open(self, query: str = "") -> None:
        """Load an address, until the pictures on the screen are painted and the script has ended."""
        from tests.e2e.browsing import PAINTED

        self.page.goto(self.address + query)
        self.page.wait_for_selector(".ts-card img")
        self.page.wait_for_function(PAINTED)

    def search(self, text: str) -> None:
        """Type into the search field, until the number of pictures is another one."""
        before = self.page.locator(".st-key-status p.ts-quiet").inner_text()
        field = self.page.locator(".st-key-q input")
        field.fill(text)
        field.press("Enter")
        self.page.wait_for_function(
            "(before) => document.querySelector('.st-key-status p.ts-quiet')?.innerText !== before",
            arg=before,
        )

    def turn(self) -> None:
        """Go to the next page, until its first picture is another one."""
        first = ".ts-card img"
        before = self.page.locator(first).first.get_attribute("src")
        label = self.page.locator(".st-key-page input").input_value()
        self.page.locator(".st-key-next_page button").click()
        self.page.wait_for_function(
            "([before, label]) => document.querySelector('.ts-card img')?.src !== before"
            " && document.querySelector('.st-key-page input')?.value !== label",
            arg=[before, label],
        )

    def picture(self, image_id: str) -> None:
        """Open a picture with its boxes."""
        self.page.goto(f"{self.address}?picture={image_id}")
        self.page.wait_for_selector(".ts-figure svg rect")

    def view(self, name: str, seen: str) -> None:
        """Open a view, until something is on the screen."""
        self.page.goto(f"{self.address}?view={name}")
        self.page.wait_for_selector(seen)


def read(address: str) -> dict[str, float]:
    """What a reader waits for."""
    from playwright.sync_api import sync_playwright

    from tests.e2e.browsing import CHROMIUM, FLAGS

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        page = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-US")
        page.set_default_timeout(SECONDS * 1000)
        reader = Reader(page, address)
        times = {
            "first page, nothing kept": timed(reader.open),
            "first page": timed(reader.open, ROUNDS),
            "next page": timed(reader.turn, ROUNDS),
        }
        times["search"] = searched(reader)
        for name, query in (
            ("tag and score", "?tag=人&tag=狗&score=0.5-"),
            ("sorted by CIDEr", "?sort=cider&descending=1"),
            ("captions that differ, by difference", "?view=compare&differing=1&sort=difference"),
            ("same captions", "?view=errors&fault=alike"),
        ):
            times[f"opened: {name}"] = timed(lambda query=query: reader.open(query), 3)  # type: ignore[misc]
        times["opened: a picture"] = timed(lambda: reader.picture("000/000700.jpg"), 3)
        times["opened: statistics"] = timed(
            lambda: reader.view("statistics", "[data-testid=stVegaLiteChart] svg"), 3
        )
        browser.close()
    return times


def searched(reader: Reader) -> float:
    """Seconds until a search is answered; the way back to all pictures between two is not counted."""
    seconds = []
    for word in WORDS:
        seconds.append(timed(lambda word=word: reader.search(word)))  # type: ignore[misc]
        reader.search("")
    return statistics.median(seconds)


def measure(n_pictures: int) -> dict[str, Any]:
    """All figures for so many pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = make_collection(folder, n_pictures)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")  # no sentence was cut before
        with served(arguments) as (_, pid, seconds, most):
            built = {"seconds": round(seconds, 1), "peak_mb": most, "then_mb": megabytes(pid, "VmRSS")}
        index = sum(path.stat().st_size for path in (folder / ".tushuo-browser").rglob("*.arrow"))
        with served(arguments) as (address, pid, seconds, _):
            opened = {"seconds": round(seconds, 2), "mb": megabytes(pid, "VmRSS")}
            times = read(address)
            after = {"mb": megabytes(pid, "VmRSS"), "peak_mb": megabytes(pid, "VmHWM")}
    return {
        "index made, until the page is served": built,
        "index_mb": round(index / 1e6, 1),
        "index there, until the page is served": opened,
        "seconds": times,
        "memory after all this": after,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = {str(n_pictures): measure(n_pictures) for n_pictures in arguments.pictures}
    tell({"machine": machine(), "pictures": results}, arguments.out)


if __name__ == "__main__":
    main()
