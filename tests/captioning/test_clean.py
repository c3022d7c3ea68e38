"""The command that cleans corpora and captions."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from captioning.clean import main
from captioning.reference_files import reference_content
from eval.annotations import ReferenceFile, read_reference_file

pytest.importorskip("opencc")
pytest.importorskip("datasketch")

COCO = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 42, "file_name": "b.jpg"}],
    "annotations": [
        {"id": 1, "image_id": 42, "caption": "<b>一隻狗</b>"},
        {"id": 2, "image_id": 7, "caption": "两只猫"},
        {"id": 3, "image_id": 42, "caption": "一只狗"},
        {"id": 4, "image_id": 42, "caption": "一只狗。"},
    ],
}


def written(folder: Path, content: object) -> Path:
    path = folder / "in"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def run(source: Path, *flags: str) -> tuple[int, Path]:
    out = source.with_name("out")
    return main([str(source), str(out), *flags]), out


def test_a_corpus_comes_out_clean_with_its_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = written(tmp_path, "\ufeff一隻狗\r\n\n<b>一只狗</b>\n  两只猫  \n[1] 三只鸟\n没有结尾")
    code, out = run(source)
    assert code == 0
    assert out.read_text(encoding="utf-8") == "一只狗\n两只猫\n[1] 三只鸟\n没有结尾\n"
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "6 texts read, 4 kept, 2 changed"
    counts = {name: int(number) for name, number, *_ in map(str.split, printed[1:-1])}
    assert {name: count for name, count in counts.items() if count} == {
        "html": 1,
        "simplified": 1,
        "spaces": 1,
        "empty": 1,
        "exact_duplicates": 1,
    }
    assert printed[-1] == f"Written: {out}"


def test_a_cleaned_corpus_is_written_again_as_it_is(tmp_path: Path) -> None:
    _, once = run(written(tmp_path, "<b>一隻狗</b>\n&#10;两只&NewLine;猫\n"), "--cleaning.spaces=false")
    again = tmp_path / "again"
    assert main([str(once), str(again), "--cleaning.spaces=false"]) == 0
    assert again.read_bytes() == once.read_bytes()


def test_near_duplicates_leave_a_corpus_when_asked_for(tmp_path: Path) -> None:
    source = written(tmp_path, "一只狗在绿色的草地上奔跑\n一只狗在绿色的草地上奔跑。\n")
    _, out = run(source, "--cleaning.duplicates=near")
    assert out.read_text(encoding="utf-8") == "一只狗在绿色的草地上奔跑\n"


def test_the_report_holds_settings_versions_and_examples(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    run(written(tmp_path, "<b>狗</b>\n狗\n"), "--report", str(report), "--cleaning.urls=false")
    account = json.loads(report.read_text(encoding="utf-8"))
    assert account["kind"] == "text"
    assert account["settings"]["urls"] is False
    assert set(account["versions"]) >= {"unicode", "opencc"}
    assert account["changed"]["html"] == {"texts": 1, "examples": [{"before": "<b>狗</b>", "after": "狗"}]}
    assert account["left_out"]["exact_duplicates"]["texts"] == 1
    assert "urls" not in account["changed"]


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in ("<b>狗</b>\n", COCO):
        assert main([str(written(tmp_path, content)), "--dry-run"]) == 0
        assert "texts read" in capsys.readouterr().out
        assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_packed_text_is_read_and_written_to_the_same_bytes(tmp_path: Path) -> None:
    source, outs = tmp_path / "in.gz", [tmp_path / "a" / "out.gz", tmp_path / "b" / "out.gz"]
    source.write_bytes(gzip.compress("一隻狗\n".encode()))
    assert [main([str(source), str(out)]) for out in outs] == [0, 0]
    assert gzip.decompress(outs[0].read_bytes()).decode() == "一只狗\n"
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert outs[0].read_bytes()[3:8] == bytes(5)  # neither a name nor a time in the header


def test_standard_input_is_plain_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO("a.jpg#0 一隻狗\n".encode())))
    assert main(["-", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out").read_text(encoding="utf-8") == "a.jpg#0 一只狗\n"


def test_coco_captions_stay_coco_captions(tmp_path: Path) -> None:
    code, out = run(written(tmp_path, COCO))
    assert code == 0
    assert json.loads(out.read_text(encoding="utf-8")) == {
        "images": [{"id": 42, "file_name": "b.jpg"}, {"id": 7, "file_name": "a.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 42, "caption": "一只狗"},
            {"id": 2, "image_id": 42, "caption": "一只狗。"},
            {"id": 3, "image_id": 7, "caption": "两只猫"},
        ],
    }


@pytest.mark.parametrize(
    "text",
    [
        "a.jpg#zhc#0\t<b>一隻狗</b>\na.jpg#zhc#1\t一只狗\nb.jpg#zhc#0\t一只狗\n",
        'image_id,caption\na.jpg,"<b>一隻狗</b>"\na.jpg,一只狗\nb.jpg,一只狗\n',
        '[{"image_id": "a.jpg", "caption": ["<b>一隻狗</b>", "一只狗"]},'
        '{"image_id": "b.jpg", "caption": ["一只狗"]}]',
    ],
    ids=["lines", "table", "aic-icc"],
)
def test_captions_without_numbers_become_aic_icc(tmp_path: Path, text: str) -> None:
    code, out = run(written(tmp_path, text))
    assert code == 0
    assert json.loads(out.read_text(encoding="utf-8")) == [
        {"image_id": "a.jpg", "caption": ["一只狗"]},
        {"image_id": "b.jpg", "caption": ["一只狗"]},
    ]


@pytest.mark.parametrize(
    "references",
    [
        ReferenceFile({"a.jpg": ("狗", "猫"), "b.jpg": ("鸟",)}),
        ReferenceFile({"a.jpg": ("狗", "猫"), "b.jpg": ("鸟",)}, numbers={"7": "a.jpg", "08": "b.jpg"}),
        ReferenceFile({"a.jpg": ("狗",), "9": ("鸟",)}, numbers={"7": "a.jpg"}),
        ReferenceFile(
            {"a.jpg": ("狗",), "v/b.jpg": ("鸟",)}, {"7": "a.jpg"}, {"a.jpg": "train", "v/b.jpg": "val"}
        ),
    ],
    ids=["nothing else", "numbers", "some numbers", "splits"],
)
def test_what_a_caption_file_had_is_read_back(tmp_path: Path, references: ReferenceFile) -> None:
    assert read_reference_file(written(tmp_path, reference_content(references))) == references


def test_a_picture_without_captions_is_left_out_and_named(tmp_path: Path) -> None:
    content = {
        "images": [
            {"filename": name, "cocoid": place, "split": "val", "sentences": [{"raw": text}]}
            for place, (name, text) in enumerate([("a.jpg", "https://a.cn"), ("b.jpg", "狗")])
        ]
    }
    report = tmp_path / "report.json"
    _, out = run(written(tmp_path, content), "--report", str(report))
    assert read_reference_file(out) == ReferenceFile({"b.jpg": ("狗",)}, {"1": "b.jpg"}, {"b.jpg": "val"})
    assert json.loads(report.read_text(encoding="utf-8"))["images_without_captions"] == ["a.jpg"]


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ([{"image_id": 1, "caption": "狗"}], [], "wanted references (format "),
        (
            COCO,
            ["--cleaning.duplicates=near"],
            "holds captions of pictures, where near-duplicates are wanted",
        ),
        ([{"image_id": 1, "caption": ["😀"]}], [], "no caption is left; nothing was written"),
        ('[{"image_id": 1, "caption": [3]}]', [], "found 3, wanted a sentence"),
    ],
    ids=["predictions", "near-duplicates", "nothing left", "not captions"],
)
def test_captions_that_cannot_be_cleaned_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: object, flags: list[str], message: str
) -> None:
    code, out = run(written(tmp_path, content), *flags)
    assert code == 1
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("in", "狗\n".encode() + "狗".encode("gb18030"), "in, line 2: found bytes that are not UTF-8"),
        ("in.gz", gzip.compress(b"abc\n" * 99)[:-9], "in.gz, after line 99: found a damaged gzip file"),
        ("in.gz", b"text", "in.gz, after line 0: found a damaged gzip file"),
    ],
)
def test_text_that_cannot_be_read_leaves_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    assert main([str(tmp_path / name), str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_is_replaced_only_when_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = written(tmp_path, "一隻狗\n")
    (tmp_path / "out").write_text("mine")
    assert run(source)[0] == 1
    assert "out: exists; give another name, or --overwrite" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"
    assert run(source, "--overwrite")[0] == 0
    assert (tmp_path / "out").read_text(encoding="utf-8") == "一只狗\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["in"], "give either OUT or --dry_run"),
        (["in", "out", "--dry_run"], "give either OUT or --dry_run"),
        (["in", "in"], "must be three files"),
        (["in", "out", "--report", "out"], "must be three files"),
        (["in", "out", "--cleaning.similarity=2"], "between 0.1 and 0.95, got 2"),
        (["in", "out", "--cleaning.tags=false"], "cleaning.tags"),
    ],
)
def test_usage_errors_exit_with_2(capsys: pytest.CaptureFixture[str], flags: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(flags)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_the_command_starts_without_torch() -> None:
    program = "import sys, captioning.clean; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
