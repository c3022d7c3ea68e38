"""Broken pictures, bombs and hostile names: each costs its own picture, and no other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.data import Collection, open_collection
from app.settings import AppConfig
from app.thumbnails import thumbnail
from features.extract import main
from features.images import ImageError, decode_image, read_image
from features.store import RegionStore
from tests.features.bombs import BOMBS
from tests.features.fake import FakeBackend, register, save_picture
from tests.features.zoo import ZOO, Exhibit, exhibit

SEEDS = range(10)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, FakeBackend())


def extract(images: Path, out: Path, *more: str) -> int:
    return main(["--images", str(images), "--out", str(out), "--backend", "fake", *more])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ZOO)
def test_a_picture_is_seen_as_it_is_meant_or_refused_with_the_reason(kind: str, seed: int) -> None:
    shown = exhibit(kind, seed)
    try:
        image = decode_image(shown.data)
    except ImageError as error:
        assert shown.pixels is None
        assert re.search(shown.reason or ".", str(error))
        assert "\n" not in str(error)
    else:
        assert shown.reason is None
        assert image.mode == "RGB"
        assert_shows(np.asarray(image), shown)


def assert_shows(found: np.ndarray, shown: Exhibit) -> None:
    if shown.pixels is not None:
        assert found.shape == shown.pixels.shape
        assert np.abs(found.astype(int) - shown.pixels).max() <= shown.within


def test_bad_pictures_are_listed_by_the_command_and_cost_no_other(
    backend: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo = {f"{kind} {seed}": exhibit(kind, seed) for kind in ZOO for seed in SEEDS[:3]}
    shown = {name + each.suffix: each for name, each in zoo.items()}
    for name, each in shown.items():
        (tmp_path / "zoo").mkdir(exist_ok=True)
        (tmp_path / "zoo" / name).write_bytes(each.data)
    assert extract(tmp_path / "zoo", tmp_path / "r.h5", "--workers", "2") == 3
    store = RegionStore(tmp_path / "r.h5")
    assert sorted([*store.image_ids, *store.failed]) == sorted(shown)
    assert {name for name, each in shown.items() if each.pixels is not None} <= set(store.image_ids)
    assert {name for name, each in shown.items() if each.reason is not None} <= set(store.failed)
    for name in store.image_ids:
        pixels = shown[name].pixels
        if pixels is not None:  # the fake detector's vector is the mean colour
            wanted = pixels.reshape(-1, 3).mean(0)
            np.testing.assert_allclose(
                store.regions(name).features[0, :3], wanted, atol=shown[name].within + 0.1
            )
    said = capsys.readouterr()
    assert f"{len(store.image_ids)} ok / {len(store.failed)} failed" in said.out
    assert "Traceback" not in said.out + said.err


DECODE = """
import resource, sys, time
from pathlib import Path
from PIL import Image
from features.images import ImageError, read_image
Image.init()
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
try:
    print(read_image(Path(sys.argv[1])).size)
except ImageError as error:
    print(error)
print(time.perf_counter() - started)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_neither_memory_nor_time(name: str, tmp_path: Path) -> None:
    make, reason = BOMBS[name]
    (tmp_path / "bomb.png").write_bytes(make())
    words = [sys.executable, "-W", "ignore", "-c", DECODE, str(tmp_path / "bomb.png")]
    child = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    answer, seconds, megabytes = child.stdout.splitlines()
    assert re.search(reason or r"^\(\d+, \d+\)$", answer)
    assert float(seconds) < 2
    assert float(megabytes) < 300
    assert child.stderr == ""


NAMES = {
    "Chinese": "海滩上的狗.png",
    "emoji": "日落 🌅👩‍👩‍👧.png",
    "composed": "caf\u00e9.png",
    "decomposed": "cafe\u0301.png",
    "spaces": " two  spaces .png",
    "single quote": "it's.png",
    "double quotes": '"quoted".png',
    "shell": "`rm -rf $HOME`;&|*?.png",
    "newline": "line\nbreak\r\n.png",
    "control characters": "\x01\x1b[31m\x7f.png",
    "255 bytes": f"xx{'图' * 83}.png",
    "leading dash": "-rf.png",
    "flag": "--overwrite.png",
    "one case": "Case.png",
    "its twin": "case.png",
    "another twin": "CASE.PNG",
    "backslash": "C:\\pictures\\a.png",
    "address": "%2e%2e%2f#top?a=b&c.png",
    "markup": "<b>&amp;{{x}}.png",
    "right to left": "\u202egnp.exe\u200b.png",
    "dots": "a.b...png",
    "folders": "子 文件夹/-x/'图'.png",
}


def colour_of(name: str) -> tuple[int, int, int]:
    """Another one for every name."""
    number = list(NAMES).index(name)
    return (10 * number, 255 - 10 * number, number)


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """What the app opens after pictures of all names were extracted."""
    folder = tmp_path_factory.mktemp("named")
    for name, path in NAMES.items():
        save_picture(folder / "images" / path, colour_of(name))
    with pytest.MonkeyPatch.context() as patch:
        register(patch, FakeBackend())
        assert extract(folder / "images", folder / "r.h5", "--workers", "1") == 0
    settings = AppConfig(images=folder / "images", regions=folder / "r.h5", cache=folder / "cache")
    yield open_collection(settings)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_leads_to_its_own_picture_in_the_regions_file_and_in_the_app(
    named: Collection, name: str
) -> None:
    image_id = NAMES[name]
    assert named.store is not None
    assert image_id in named.store.image_ids
    assert image_id in named
    regions = named.regions(image_id)
    assert regions is not None
    assert regions.image_id == image_id
    np.testing.assert_array_equal(regions.features[0, :3], colour_of(name))
    assert read_image(named.path(image_id)).getpixel((0, 0)) == colour_of(name)
    assert thumbnail(named, image_id).startswith(b"\xff\xd8")


def test_a_name_that_is_not_utf8_is_reported_in_words_that_can_be_printed(
    backend: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.rename(save_picture(tmp_path / "in" / "a.png"), os.fsencode(tmp_path / "in") + b"/\xff\xfe.png")
    save_picture(tmp_path / "in" / "good.png")
    assert extract(tmp_path / "in", tmp_path / "r.h5") == 3
    store = RegionStore(tmp_path / "r.h5")
    assert store.image_ids == ["good.png"]
    assert store.failed == {"\\udcff\\udcfe.png": "the file name is not valid UTF-8; rename the file"}
    assert "failed: \\udcff\\udcfe.png: the file name is not valid UTF-8" in capsys.readouterr().out
