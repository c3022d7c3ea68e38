"""The caption browser under many readers: pages loaded and pictures uploaded by several sessions at a time.

    python -m tests.torture.soak --out benchmarks/results/browser_soak.json

Every session is a page of Chromium of its own; they take turns, so that the time of a load is what one reader
waits while the others' pages are alive. A load ends when the page's script has run to its end and every
picture on the screen is painted. What counts as an error: a script or a request that fails, an error on the
page, a traceback of the server. Memory is the server's own, from the end of the warm-up, in which every view
was seen and some pictures were captioned.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.browser import make_collection, megabytes, served
from benchmarks.machine import machine
from benchmarks.results import tell
from features.images import find_images
from tests.e2e.browsing import PAINTED, chromium

SAMPLES = Path("examples/images")
SECONDS = 180
"""For a load, before it counts as an error."""


@dataclass(kw_only=True)
class SoakReport:
    """What happened; times in seconds."""

    pictures: int
    sessions: int
    loads: int = 0
    uploads: int = 0
    problems: list[str] = field(default_factory=list)
    list_median: float = 0.0
    """Of loads of the gallery."""
    list_p95: float = 0.0
    upload_median: float = 0.0
    upload_p95: float = 0.0
    mb_after_warm_up: int = 0
    mb_at_the_end: int = 0
    growth: float = 0.0
    """Share of the memory after the warm-up."""
    seconds: float = 0.0


class Session:
    """One reader's page."""

    def __init__(self, page: Any, address: str, report: SoakReport, draw: random.Random) -> None:
        self.page = page
        self.address = address
        self.report = report
        self.draw = draw
        page.set_default_timeout(SECONDS * 1000)
        page.on("pageerror", lambda error: report.problems.append(f"script: {error}"))
        page.on("response", self.note)
        page.on("requestfailed", lambda request: self.note_failed(request))

    def note(self, response: Any) -> None:
        """A request that the server refused is a problem."""
        if response.status >= 400:
            self.report.problems.append(f"{response.status} {response.url[:200]}")

    def note_failed(self, request: Any) -> None:
        """So is one that it did not answer, unless the page was left before."""
        if "ERR_ABORTED" not in (request.failure or ""):
            self.report.problems.append(f"{request.failure} {request.url[:200]}")

    def load(self, query: str) -> float:
        """Seconds until an address is shown."""
        started = time.perf_counter()
        self.page.goto(self.address + query)
        self.page.wait_for_function(PAINTED)
        seconds = time.perf_counter() - started
        if self.page.locator("[data-testid=stException]").count():
            self.report.problems.append(f"an error is shown at {query}")
        return seconds

    def upload(self, path: Path) -> float:
        """Seconds until a picture of one's own is captioned."""
        self.load("?view=try")
        started = time.perf_counter()
        self.page.locator("input[type=file]").set_input_files(path)
        self.page.wait_for_selector(".ts-figure svg rect, .stAlert")
        self.page.wait_for_function(PAINTED)
        if self.page.locator(".stAlert").count():
            self.report.problems.append(f"{path.name} was refused")
        return time.perf_counter() - started


def soak(n_loads: int, n_uploads: int, n_sessions: int, n_pictures: int, warm_up: int) -> SoakReport:
    """Load and upload in random order; in the warm-up so often, and a quarter of it uploads."""
    draw = random.Random(0)
    report = SoakReport(pictures=n_pictures, sessions=n_sessions)
    samples = [SAMPLES / name for name in find_images(SAMPLES)]
    started = time.perf_counter()
    with TemporaryDirectory() as folder, ExitStack() as stack:
        log = Path(folder) / "app.log"
        arguments = make_collection(Path(folder), n_pictures)
        address, pid, _, _ = stack.enter_context(served(arguments, log))
        sessions = list(stack.enter_context(readers(address, report, draw, n_sessions)))
        act(sessions, draw, samples, warm_up - warm_up // 4, warm_up // 4)
        report.mb_after_warm_up = megabytes(pid, "VmRSS")
        lists, uploads = act(sessions, draw, samples, n_loads, n_uploads)
        report.mb_at_the_end = megabytes(pid, "VmRSS")
        if "Traceback" in (said := log.read_text(encoding="utf-8")):
            report.problems.append(said[-2000:])
    report.loads, report.uploads = n_loads, len(uploads)
    report.list_median, report.list_p95 = summary(lists)
    report.upload_median, report.upload_p95 = summary(uploads)
    report.growth = round(report.mb_at_the_end / report.mb_after_warm_up - 1, 4)
    report.seconds = round(time.perf_counter() - started, 1)
    return report


@contextmanager
def readers(
    address: str, report: SoakReport, draw: random.Random, n_sessions: int
) -> Iterator[list[Session]]:
    """As many sessions, each with a web browser's context of its own."""
    with chromium() as browser:
        contexts = [browser.new_context(viewport={"width": 1280, "height": 900}) for _ in range(n_sessions)]
        yield [Session(context.new_page(), address, report, draw) for context in contexts]


def act(
    sessions: list[Session], draw: random.Random, samples: list[Path], n_loads: int, n_uploads: int
) -> tuple[list[float], list[float]]:
    """Take turns; seconds of the loads of the gallery, and of the uploads."""
    lists, uploads = [], []
    turns = ["load"] * n_loads + ["upload"] * n_uploads
    draw.shuffle(turns)
    for number, turn in enumerate(turns):
        session = sessions[number % len(sessions)]
        if turn == "upload":
            uploads.append(session.upload(draw.choice(samples)))
            continue
        query = any_address(draw)
        seconds = session.load(query)
        if query.startswith("?page="):
            lists.append(seconds)
    return lists, uploads


def any_address(draw: random.Random) -> str:
    """Half of all loads are pages of the gallery; the others see every view, filter and picture."""
    if draw.random() < 0.5:
        return f"?page={draw.randint(1, 30)}&sort={draw.choice(['name', 'cider'])}"
    picture = f"picture=000/{draw.randrange(1000):06d}.jpg"
    return draw.choice(
        [
            f"?{picture}",
            f"?view=compare&{picture}",
            f"?q={draw.choice(['狗', '自行车', '没有这样的'])}",
            f"?view=errors&fault={draw.choice(['worst', 'alike', 'undetected'])}",
            "?view=statistics",
            "?view=compare&differing=1&sort=difference",
            f"?view=runs&lang={draw.choice(['zh', 'en'])}",
        ]
    )


def summary(seconds: list[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    if len(seconds) < 2:
        return (round(sum(seconds), 3),) * 2
    return round(statistics.median(seconds), 3), round(statistics.quantiles(seconds, n=20)[-1], 3)


def main() -> int:
    """Soak, print, write; 1 where anything went wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loads", type=int, default=5000)
    parser.add_argument("--uploads", type=int, default=500)
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument(
        "--warm_up", type=int, default=60, help="loads and uploads before memory is looked at"
    )
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    report = soak(
        arguments.loads, arguments.uploads, arguments.sessions, arguments.pictures, arguments.warm_up
    )
    tell({"machine": machine(), "soak": asdict(report)}, arguments.out)
    return min(1, len(report.problems))


if __name__ == "__main__":
    sys.exit(main())
