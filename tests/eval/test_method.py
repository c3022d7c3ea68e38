"""Every output says how its numbers were made, in the same words."""

import html
import json
import re
from pathlib import Path

import pytest

from eval.__main__ import main
from eval.evaluation import Evaluation, Settings, evaluate_files
from eval.method import method, method_lines, program
from eval.rouge import BETA
from eval.significance import SEED, intervals
from eval.summary import summary_lines
from eval.tables import escape_latex


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two systems and the human captions of two pictures."""
    monkeypatch.chdir(tmp_path)
    people = [{"image_id": f"{name}.jpg", "caption": [f"一只{name}", f"{name}在跑"]} for name in "狗猫"]
    Path("people.json").write_text(json.dumps(people), encoding="utf-8")
    for name in ("one", "two"):
        said = [{"image_id": each["image_id"], "caption": f"一只狗{name}"} for each in people]
        Path(f"{name}.json").write_text(json.dumps(said), encoding="utf-8")
    return [Path("one.json"), Path("two.json"), Path("people.json")]


def evaluated(files: list[Path], n_systems: int = 2, **settings: int | tuple[str, ...]) -> Evaluation:
    return evaluate_files(files[:n_systems], files[-1], Settings(protocols=("chars",), **settings))  # type: ignore[arg-type]


def test_version_metrics_intervals_and_tests_are_described(files: list[Path]) -> None:
    assert method_lines(evaluated(files, resamples=100, confidence=0.975)) == [
        f"Program: {program()}",
        "BLEU: of the whole corpus; brevity penalty by each picture's closest reference length",
        f"ROUGE-L: beta {BETA}, the best precision and the best recall among the references",
        "CIDEr: CIDEr-D as the COCO server computes it; document frequencies from the references of the 2 "
        "scored pictures",
        "Intervals: 97.5%, percentile bootstrap over pictures, 100 draws, seed 0",
        "Tests: paired approximate randomisation, two-sided, 100 draws, seed 0; p corrected by Holm's "
        "method, pairs of systems: 1; intervals of differences: paired bootstrap",
    ]


def test_what_was_not_computed_is_not_described(files: list[Path]) -> None:
    keys = [key for key, _ in method(evaluated(files, metrics=("rouge",), resamples=0))]
    assert keys == ["method_program", "method_rouge-l"]
    keys = [key for key, _ in method(evaluated(files, 1, metrics=("cider-unclipped",), resamples=100))]
    assert keys == ["method_program", "method_cider-unclipped", "method_intervals"]


def test_the_program_is_told_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.method.version", lambda name: {"tushuo": "1.2.3"}[name])
    assert program() == "tushuo 1.2.3"


def test_the_seed_that_is_told_gives_the_intervals_that_are_told(files: list[Path]) -> None:
    [scores] = evaluated(files, 1, resamples=100).systems[0].scores
    assert intervals(*scores.by_metric, resamples=100, seed=SEED) == scores.intervals


def test_every_output_holds_every_sentence(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    names = ["s.json", "r.html", "t.md", "t.tex"]
    outputs = zip(["--out", "--report", "--markdown", "--latex"], names, strict=True)
    options = ["--protocols", "chars", "--resamples", "100"]
    assert main([*map(str, files), *options, *(word for each in outputs for word in each)]) == 0
    evaluation = evaluated(files, resamples=100)
    lines = method_lines(evaluation)
    assert set(lines) <= set(summary_lines(evaluation)) & set(capsys.readouterr().out.splitlines())
    written = {name: Path(name).read_text(encoding="utf-8") for name in names}
    page = [html.unescape(text) for text in re.findall(r">([^<]+)<", written["r.html"])]
    assert set(lines) <= set(page)
    assert set(lines) <= {line.removeprefix("- ") for line in written["t.md"].splitlines()}
    assert escape_latex(". ".join(lines)) in written["t.tex"]
    assert json.loads(written["s.json"])["method"] == lines
    assert "检验：成对近似随机化，双侧，100 次，随机种子 0" in "".join(page)


def test_the_scores_file_names_draws_seed_and_tests(files: list[Path]) -> None:
    assert main([*map(str, files), "--resamples", "100", "--out", "s.json"]) == 0
    settings = json.loads(Path("s.json").read_text(encoding="utf-8"))["settings"]
    wanted = {
        "resamples": 100,
        "seed": SEED,
        "interval": "percentile bootstrap over pictures",
        "test": "paired approximate randomisation",
        "correction": "Holm",
    }
    assert wanted.items() <= settings.items()
