"""``python -m eval``: what it prints, writes and refuses."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from eval import __main__ as command
from eval.__main__ import main
from eval.scorer import Scorer
from eval.segmenters import SEGMENTERS

REFERENCES = [
    {"image_id": "a.jpg", "caption": ["两只狗在雪地里玩耍", "雪地里有两只狗"]},
    {"image_id": "b.jpg", "caption": ["一个男人骑着自行车"]},
    {"image_id": "c.jpg", "caption": ["孩子们在海边放风筝。"]},
]
PREDICTIONS = [
    {"image_id": "a.jpg", "caption": "两只狗在雪地里奔跑"},
    {"image_id": "b", "caption": "一个女人骑着马"},
    {"image_id": "c.jpg", "caption": "孩子们在海边放风筝"},
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write("refs.json", REFERENCES)
    write("captions.json", PREDICTIONS)
    return tmp_path


def write(name: str, content: Any) -> None:
    Path(name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def test_the_table_gives_words_and_characters_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["captions.json", "refs.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"]
    assert lines[0] == "3 pictures, 4 references"
    assert lines[2].split() == ["aic-icc", "(words)", *names]
    assert lines[6].split() == ["chars", "(characters)", *names]
    assert (lines[3].split()[0], lines[7].split()[0]) == ("captions", "captions")
    assert lines[3].split()[1:] != lines[7].split()[1:]


def test_the_scores_file_holds_protocol_versions_counts_and_hashes() -> None:
    assert main(["captions.json", "refs.json", "--out", "new/scores.json"]) == 0
    scores = json.loads(Path("new/scores.json").read_text(encoding="utf-8"))
    [system] = scores["systems"]
    for source, file in [(system["predictions"], "captions.json"), (scores["references"], "refs.json")]:
        assert source["sha256"] == hashlib.sha256(Path(file).read_bytes()).hexdigest()
    assert (scores["references"]["n_images"], scores["references"]["n_captions"]) == (3, 4)
    assert (scores["n_images"], scores["n_references"]) == (3, 4)
    assert (system["name"], system["missing"], system["extra"]) == ("captions", [], [])
    words = system["scores"]["aic-icc"]
    assert (words["segmenter"], words["unit"]) == ("jieba", "words")
    assert words["n_images"] == 3
    assert words["version"].startswith("jieba 0.42.1, dict.txt sha256 ")
    assert words["per_image"].keys() == {"a.jpg", "b.jpg", "c.jpg"}
    assert words["per_image"]["c.jpg"]["cider"] == pytest.approx(10)
    assert system["scores"]["chars"]["unit"] == "characters"


def test_two_runs_write_the_same_bytes() -> None:
    for name in ("one.json", "two.json"):
        assert main(["captions.json", "refs.json", "--out", name]) == 0
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes()


def test_missing_pictures_are_refused_with_the_first_ten_names(capsys: pytest.CaptureFixture[str]) -> None:
    write("refs.json", REFERENCES + [{"image_id": f"{i:02}.jpg", "caption": ["狗"]} for i in range(12)])
    assert main(["captions.json", "refs.json", "--out", "scores.json"]) == 1
    out, err = capsys.readouterr()
    names = ", ".join(f"'{i:02}.jpg'" for i in range(10))
    assert err == (
        f"eval: captions.json has no caption for 12 of the 15 pictures in refs.json: {names}, …. "
        "Caption them, or score the rest with --allow_missing.\n"
    )
    assert out == ""
    assert not Path("scores.json").exists()


def test_extra_pictures_are_refused_with_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    write("captions.json", [*PREDICTIONS, {"image_id": "d.jpg", "caption": "狗"}])
    assert main(["captions.json", "refs.json"]) == 1
    assert capsys.readouterr().err == (
        "eval: refs.json has no reference for 1 of the 4 pictures in captions.json: 'd.jpg'. "
        "Take them out, or pass over them with --allow_extra.\n"
    )


def test_missing_and_extra_pictures_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    write("captions.json", [*PREDICTIONS[:2], {"image_id": "d.jpg", "caption": "狗"}])
    assert main(["captions.json", "refs.json"]) == 1
    err = capsys.readouterr().err
    assert "no caption for 1 of the 3 pictures in refs.json: 'c.jpg'." in err
    assert "no reference for 1 of the 3 pictures in captions.json: 'd.jpg'." in err


def test_what_was_left_out_by_permission_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    write("captions.json", [*PREDICTIONS[:2], {"image_id": "d.jpg", "caption": "狗"}])
    assert main(["captions.json", "refs.json", "--allow_missing", "--allow_extra", "--out", "s.json"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "2 pictures, 3 references\nLEFT OUT: 1 reference picture without a caption of captions\n"
        "left out: 1 caption of captions without references\n"
    )
    scores = json.loads(Path("s.json").read_text(encoding="utf-8"))
    assert scores["n_images"] == 2
    assert (scores["systems"][0]["missing"], scores["systems"][0]["extra"]) == (["c.jpg"], ["d.jpg"])


def test_files_without_a_common_picture_show_how_their_ids_look(capsys: pytest.CaptureFixture[str]) -> None:
    write("captions.json", [{"image_id": 17, "caption": "狗"}])
    assert main(["captions.json", "refs.json", "--allow_missing", "--allow_extra"]) == 1
    assert "have no picture in common: ids are like '17' and 'a.jpg'" in capsys.readouterr().err


def test_files_in_the_wrong_order_are_recognised(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["refs.json", "captions.json"]) == 1
    err = capsys.readouterr().err
    assert "eval: refs.json: found references (format aic-icc), wanted predictions" in err
    assert "python -m eval takes the references last" in err


@pytest.mark.parametrize("option", ["--out", "--report", "--markdown", "--latex"])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("folder", "found a folder, wanted the name of a file to write"),
        ("pipe", "found no regular file, wanted the name of a file to write"),
        ("link_to_pipe", "found no regular file, wanted the name of a file to write"),
        ("refs.json/new/scores", "/refs.json is a file, wanted a folder to write into"),
    ],
)
def test_what_no_file_can_be_written_to_is_refused_before_scoring(
    option: str, path: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("folder").mkdir()
    os.mkfifo("pipe")
    Path("link_to_pipe").symlink_to("pipe")
    assert main(["captions.json", "refs.json", option, path]) == 1
    message = message if message.startswith("found") else f"{folder}{message}"
    assert capsys.readouterr() == ("", f"eval: {option} {path}: {message}\n")
    assert Path("pipe").is_fifo()


def test_a_file_that_exists_is_replaced() -> None:
    Path("scores.json").write_text("old", encoding="utf-8")
    assert main(["captions.json", "refs.json", "--out", "scores.json"]) == 0
    assert json.loads(Path("scores.json").read_text(encoding="utf-8"))["n_images"] == 3


def test_a_report_folder_that_is_none_is_refused_before_scoring(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["captions.json", "refs.json", "--report", "r.html", "--images", "nowhere"]) == 1
    assert capsys.readouterr() == ("", "eval: --images nowhere: wanted a folder of pictures\n")


def test_a_broken_regions_file_is_found_before_scoring(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scorer, "score", None)
    Path("regions.h5").write_bytes(b"no HDF5")
    assert main(["captions.json", "refs.json", "--regions", "regions.h5"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "regions.h5" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: files"),
        (["--protocols", "aic"], "unknown protocol 'aic'; choose from aic-icc, chars, coco-cn"),
        (["--images", "."], "--images is for the report; name it with --report FILE"),
        (["--title", "x"], "--title is for the report; name it with --report FILE"),
        (["--language", "zh"], "--language is for the report; name it with --report FILE"),
        (["--report_pictures", "5"], "--report_pictures is for the report; name it with --report FILE"),
        (["--report_pictures", "1"], "report_pictures must be 2 or more, got 1"),
        (["--processes", "-1"], "processes must be 0 or more, got -1"),
        (["--resamples", "99"], "or 100 or more, got 99: of fewer draws the ends of an interval are chance"),
        (
            ["--resamples", "-1"],
            "resamples must be 0, for neither intervals nor tests, or 100 or more, got -1",
        ),
        (["--protocols", "chars", "chars"], "protocols: wanted one or more different ones, got chars, chars"),
        (["--confidence", "95"], "confidence must lie between 0 and 1, got 95.0"),
        (["--metrics", "blue"], "unknown metric 'blue'; choose from bleu, "),
        (["--language", "fr"], "fr"),
        (["--out", "x", "--latex", "./x"], "x is named for two purposes"),
        (["--markdown", "refs.json"], "refs.json is named for two purposes"),
        (["--segmenter", "thulac"], "unknown segmenter 'thulac'; choose from chars, jieba"),
        (["--segmenter", "jieba", "--protocols", "chars"], "--segmenter jieba: none of the protocols chars"),
        (["--nothing"], "--nothing"),
    ],
)
def test_wrong_use_exits_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["captions.json", "refs.json"] if arguments else []
    with pytest.raises(SystemExit) as stopped:
        main([*files, *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_settings_may_come_from_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("eval.yaml").write_text("protocols: [chars]\nallow_missing: true\n", encoding="utf-8")
    write("captions.json", PREDICTIONS[:2])
    assert main(["--config", "eval.yaml", "captions.json", "refs.json"]) == 0
    assert "jieba" not in capsys.readouterr().out


@pytest.mark.parametrize("value", ["chars", "{a: 1}", "7"])
def test_one_value_for_a_list_in_a_file_of_settings_is_named(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("eval.yaml").write_text(f"protocols: {value}\n", encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["--config", "eval.yaml", "captions.json", "refs.json"])
    assert stopped.value.code == 2
    assert "eval.yaml, protocols: wanted a list, as in [one, two], found " in capsys.readouterr().err


def test_help_names_every_segmenter(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    told = " ".join(capsys.readouterr().out.partition("--segmenter SEGMENTER")[2].split())
    assert told.startswith(
        "Segmenter for the protocols that cut words themselves (aic-icc), instead of their"
    )
    assert "own: jieba, chars, whitespace, ptb or that of an installed package." in told
    assert [*SEGMENTERS] == ["jieba", "chars", "whitespace", "ptb"]


def test_one_file_is_not_enough(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["captions.json"])
    assert stopped.value.code == 2
    assert "wanted one or more files of captions and, last, one of human captions" in capsys.readouterr().err


def test_another_segmenter_changes_the_name_of_the_words_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["captions.json", "refs.json", "--segmenter", "whitespace", "--out", "s.json"]) == 0
    assert "aic-icc+whitespace (given words) " in capsys.readouterr().out
    [system] = json.loads(Path("s.json").read_text(encoding="utf-8"))["systems"]
    assert list(system["scores"]) == ["aic-icc+whitespace", "chars"]
    assert system["scores"]["chars"]["segmenter"] == "chars"


def test_the_problems_of_all_files_are_told_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    write("broken.json", [{"image_id": "a.jpg", "caption": ""}])
    write("short.json", PREDICTIONS[:2])
    assert main(["broken.json", "short.json", "captions.json", "refs.json"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert [line[:20] for line in err.splitlines()] == ["eval: broken.json, r", "eval: short.json has"]


def test_references_without_a_token_are_told_all_at_once_with_their_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("refs.json", [{**each, "caption": ["。"]} for each in REFERENCES])
    assert main(["captions.json", "refs.json"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "eval: refs.json: 3 problems:"
    assert lines[1] == "eval: picture 'a.jpg': reference '。' holds no token under aic-icc; remove it"
    assert len(lines) == 4


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "evaluate_files", interrupt)
    assert main(["captions.json", "refs.json"]) == 130


def test_nothing_is_kept_where_that_is_not_wanted(folder: Path) -> None:
    assert main(["captions.json", "refs.json", "--no_cache"]) == 0
    assert not (folder / "cache").exists()


def test_the_command_runs_without_torch(folder: Path) -> None:
    code = (
        "import sys; from eval.__main__ import main; code = main(sys.argv[1:]); "
        "print(sorted({'torch', 'transformers', 'streamlit', 'h5py'} & sys.modules.keys())); sys.exit(code)"
    )
    arguments = ["captions.json", "refs.json", "--report", "r.html", "--images", str(folder)]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "[]"
