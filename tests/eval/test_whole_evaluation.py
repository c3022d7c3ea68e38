"""``python -m eval`` with everything on: each output says how to repeat it, and repeating gives the same."""

import hashlib
import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval import segmentation, segmenters
from eval.__main__ import main
from features.store import Regions, StoreMeta, box_geometry, write_shard
from features.tags import Lexicon

IMAGES = Path(__file__).parents[2] / "examples" / "images"
PEOPLE: list[dict[str, Any]] = json.loads((IMAGES / "captions.json").read_text(encoding="utf-8"))
OUTPUTS = ("scores.json", "report.html", "tables.md", "tables.tex")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two systems, of which one repeats a person's words and the other says little; and regions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write("people.json", PEOPLE)
    write(
        "近.json",
        [{"image_id": each["image_id"], "caption": each["caption"][0][:-2] + "了"} for each in PEOPLE],
    )
    write(
        "far.json",
        [{"image_id": each["image_id"], "caption": f"一个人和{i}只狗"} for i, each in enumerate(PEOPLE)],
    )
    write_regions(tmp_path / "regions.h5")
    return tmp_path


def write(name: str, content: Any) -> None:
    Path(name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def write_regions(path: Path) -> None:
    """A dog at 0.9 in every picture."""
    lexicon = Lexicon.load("zh", "voc-20")
    boxes = np.array([[0, 0, 40, 30]], np.float32)
    regions = [
        Regions(
            image_id=each["image_id"],
            width=400,
            height=300,
            features=np.zeros((1, 4), np.float16),
            boxes=boxes,
            geometry=box_geometry(boxes, 400, 300),
            object_ids=np.array([lexicon.texts.index("狗")], np.int32),
            object_scores=np.array([0.9], np.float32),
        )
        for each in sorted(PEOPLE, key=lambda each: each["image_id"])
    ]
    meta = StoreMeta(
        backend="test", description={}, vocabulary=lexicon.english, vocabulary_id="voc-20", feature_dim=4
    )
    write_shard(path, regions, meta)


def everything(folder: str, *files: str, more: tuple[str, ...] = ()) -> dict[str, str]:
    """Text of each output."""
    outputs = {name: Path(folder, name) for name in OUTPUTS}
    flags = ["--out", "--report", "--markdown", "--latex"]
    named = [str(each) for pair in zip(flags, outputs.values(), strict=True) for each in pair]
    wanted = [*files, *named, "--images", str(IMAGES), "--regions", "regions.h5", "--resamples", "100"]
    assert main([*wanted, "--language", "zh", *more]) == 0
    return {name: path.read_text(encoding="utf-8") for name, path in outputs.items()}


@pytest.mark.parametrize("systems", [("近.json",), ("近.json", "far.json")])
def test_every_output_carries_what_repeats_its_numbers(
    systems: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    texts = everything("out", *systems, "people.json")
    texts["terminal"] = capsys.readouterr().out
    latex = texts["tables.tex"].replace("{-}", "-")
    texts["tables.tex"] = latex.replace(
        "remove full stop (U+3002)", "remove 。"
    )  # pdfLaTeX lacks the character
    hashes = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in (*systems, "people.json")]
    scored = json.loads(texts["scores.json"])["systems"][0]["scores"]
    for name, text in texts.items():
        for protocol, scores in scored.items():
            assert protocol in text, name
            assert scores["version"][:42] in text, name  # in a paper, the hash's first twelve digits
            assert [step for step in scores["steps"] if step not in text] == [], name
        assert [digest for digest in hashes if digest not in text] == [], name
        assert re.search(rf"\b{scored['chars']['n_references']}\b", text), name
        number = scored["aic-icc"]["overall"]["bleu-1"]
        assert any(written in text for written in (repr(number), f"{number:.4f}", f"{number:.3f}")), name


def test_two_systems_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(everything("out", "近.json", "far.json", "people.json")["scores.json"])
    assert [system["name"] for system in content["systems"]] == ["近", "far"]
    [words, characters] = content["comparisons"]
    assert (words["first"], words["second"], words["protocol"]) == ("近", "far", "aic-icc")
    assert words["tests"]["cider"]["wins"] == len(PEOPLE)
    assert characters["tests"]["cider"]["p_value"] <= 0.05
    recalls = [system["tag_recall"] for system in content["systems"]]
    assert [(each["n_images"], each["recall"]) for each in recalls][1] == (len(PEOPLE), 1.0)
    assert recalls[0]["source"] == "regions.h5, voc-20, score ≥ 0.2"
    out = capsys.readouterr().out
    assert "*: differs significantly from 近" in out
    assert "far names 19 of 19 detected objects" in out


def without_sources(text: str) -> dict[str, Any]:
    """scores.json without the names and hashes of the files."""
    content = json.loads(text)
    del content["references"]
    for system in content["systems"]:
        del system["predictions"]
    return content


def test_the_same_files_give_the_same_bytes_whoever_cuts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "PROCESSES_PAY", 0)
    monkeypatch.setattr(segmentation, "SAMPLE", 2)
    monkeypatch.setattr(segmentation, "CHUNK", 5)
    monkeypatch.setattr(segmentation, "CACHE_PAYS", 0)
    files = ("近.json", "far.json", "people.json")
    runs = [
        everything("out", *files, more=more)
        for more in [
            ("--no_cache", "--processes", "1"),
            ("--no_cache", "--processes", "2"),
            ("--processes", "1"),
            ("--processes", "1"),
        ]
    ]
    assert len(list(Path("cache/tushuo/segmentation").iterdir())) == 6
    for name in ("scores.json", "tables.md", "tables.tex"):
        assert len({run[name] for run in runs}) == 1


def test_the_order_of_the_records_and_of_a_picture_s_captions_changes_no_bit() -> None:
    before = everything("before", "近.json", "far.json", "people.json")
    shuffle = random.Random(3).shuffle
    for name in ("近.json", "far.json", "people.json"):
        records = json.loads(Path(name).read_text(encoding="utf-8"))
        shuffle(records)
        for record in records:
            if isinstance(record["caption"], list):
                shuffle(record["caption"])
        write(name, records)
    after = everything("after", "近.json", "far.json", "people.json")
    assert without_sources(after["scores.json"]) == without_sources(before["scores.json"])


def test_the_second_run_needs_no_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "CACHE_PAYS", 0)
    first = everything("first", "近.json", "people.json")

    def refuse() -> None:
        raise AssertionError("the dictionary was loaded")

    monkeypatch.setattr(segmenters, "_load_jieba", refuse)
    assert (
        main(["近.json", "people.json", "--regions", "regions.h5", "--resamples", "100", "--out", "s.json"])
        == 0
    )
    assert Path("s.json").read_text(encoding="utf-8") == first["scores.json"]
