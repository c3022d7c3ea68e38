"""scores.json: what it holds, and that no key is renamed without the schema's number."""

import json
from pathlib import Path
from typing import Any

import pytest

from eval.evaluation import Settings, evaluate_files
from eval.metrics import METRIC_NOTES, METRICS, Score
from eval.scores_file import scores_content, scores_text

REFERENCES = {"a.jpg": ["两只狗在雪地里玩耍", "雪地里有两只狗"], "b.jpg": ["一个男人骑着自行车"]}
SYSTEMS = {
    "ours": [
        {"image_id": "a.jpg", "caption": "两只狗在雪地里奔跑", "tags": ["狗", "树"]},
        {"image_id": "b.jpg", "caption": "一个男人骑着马", "tags": ["人", "马"]},
    ],
    "theirs": [{"image_id": "b.jpg", "caption": "一个男人"}, {"image_id": "a.jpg", "caption": "一只猫"}],
}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    listed = [{"image_id": image_id, "caption": captions} for image_id, captions in REFERENCES.items()]
    contents = {**SYSTEMS, "refs": listed}
    for name, content in contents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return [tmp_path / f"{name}.json" for name in contents]


@pytest.fixture
def content(files: list[Path]) -> dict[str, Any]:
    *predictions, references = files
    evaluation = evaluate_files(predictions, references, Settings(resamples=100))
    assert json.loads(scores_text(evaluation)) == json.loads(json.dumps(scores_content(evaluation)))
    return json.loads(scores_text(evaluation))


def test_the_keys_are_those_that_the_documentation_names(content: dict[str, Any]) -> None:
    documented = (Path(__file__).parents[2] / "docs/formats.md").read_text(encoding="utf-8")
    documented = documented[documented.index("## Scores (`eval --out`)") :]
    system = content["systems"][0]
    words = system["scores"]["aic-icc"]
    comparison = content["comparisons"][0]
    kinds = [
        content,
        content["settings"],
        content["references"],
        system,
        words,
        words["diversity"],
        comparison,
    ]
    kinds += [comparison["tests"]["cider"], system["tag_recall"], system["tag_recall"]["per_image"]["a.jpg"]]
    assert [key for kind in kinds for key in kind if f"`{key}`" not in documented] == []


def test_intervals_tests_and_diversity_stand_beside_the_scores(content: dict[str, Any]) -> None:
    words = content["systems"][0]["scores"]["aic-icc"]
    assert words["intervals"].keys() == words["overall"].keys() == words["per_image"]["a.jpg"].keys()
    low, high = words["intervals"]["bleu-1"]
    assert 0 <= low <= words["overall"]["bleu-1"] <= high <= 1
    assert words["diversity"]["lengths"] == {"3": 1, "6": 1}
    assert [each["protocol"] for each in content["comparisons"]] == ["aic-icc", "chars"]
    assert (content["comparisons"][0]["first"], content["comparisons"][0]["second"]) == ("ours", "theirs")
    test = content["comparisons"][0]["tests"]["bleu-1"]
    assert (test["wins"], test["ties"], test["losses"]) == (2, 0, 0)


def test_tags_beside_the_captions_are_what_was_detected(content: dict[str, Any]) -> None:
    ours, theirs = (system["tag_recall"] for system in content["systems"])
    assert (ours["named"], ours["not_named"], ours["not_detected"]) == (3, 1, 0)
    assert theirs is None


def test_a_picture_s_numbers_share_a_line(files: list[Path]) -> None:
    *predictions, references = files
    lines = scores_text(evaluate_files(predictions, references, Settings(resamples=0))).splitlines()
    assert sum('"a.jpg": {"bleu-1": ' in line for line in lines) == 4
    assert lines[0] == "{"
    assert lines[-1] == "}"


def test_without_draws_there_are_neither_intervals_nor_tests(files: list[Path]) -> None:
    *predictions, references = files
    content = scores_content(evaluate_files(predictions, references, Settings(resamples=0)))
    assert content["comparisons"] == []
    assert content["systems"][0]["scores"]["chars"]["intervals"] == {}


def test_what_meteor_does_to_chinese_stands_in_the_file(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS, "meteor", lambda *_: Score.of_means({"meteor": [0.5, 0.5]}))  # needs Java
    *predictions, references = files
    settings = Settings(resamples=0, metrics=("bleu", "cider-unclipped", "meteor"))
    content = scores_content(evaluate_files(predictions, references, settings))
    assert content["notes"] == {"meteor": METRIC_NOTES["meteor"]}
    assert content["ranges"] == {
        **{f"bleu-{n}": [0, 1] for n in (1, 2, 3, 4)},
        "cider-unclipped": [0, 10],
        "meteor": [0, 1],
    }
