"""SPICE with a program in its place: what it is sent, what is made of its answer, when it is refused."""

from pathlib import Path

import pytest

from eval import spice as module
from eval.java import MetricUnavailable
from eval.spice import MODELS, spice
from tests.eval.fake_java import fake_java

REFERENCES = [[["a", "dog"], ["one", "dog"]], [["a", "cat"]]]
CAPTIONS = [["a", "dog"], ["a", "tree"]]
ANSWER = """
pictures = json.load(open(arguments[arguments.index('-jar') + 2]))
assert pictures[0] == {'image_id': 0, 'test': 'a dog', 'refs': ['a dog', 'one dog']}, pictures
scores = [{'image_id': each['image_id'], 'scores': {'All': {'f': 0.25 * each['image_id'] + 0.5}}}
          for each in reversed(pictures)]
json.dump(scores, open(arguments[arguments.index('-out') + 1], 'w'))
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's folder with files in the models' place."""
    (tmp_path / "lib").mkdir()
    for name in MODELS:
        (tmp_path / "lib" / name).touch()
    monkeypatch.setattr(module, "jar", lambda *_: tmp_path / "spice-1.0.jar")


@pytest.mark.usefixtures("models")
def test_f_scores_come_back_in_the_order_of_the_captions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_java(tmp_path, monkeypatch, ANSWER)
    score = spice(CAPTIONS, REFERENCES)
    assert score.per_image == {"spice": [0.5, 0.75]}
    assert score.overall == {"spice": 0.625}


@pytest.mark.usefixtures("models")
def test_scores_that_cannot_be_read_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path, monkeypatch, "")
    with pytest.raises(ChildProcessError, match="SPICE: its scores cannot be read .*FileNotFoundError"):
        spice(CAPTIONS, REFERENCES)


def test_chinese_is_refused() -> None:
    with pytest.raises(MetricUnavailable, match="SPICE parses English only; found the reference '一只 狗'"):
        spice([["狗"]], [[["a", "dog"], ["一只", "狗"]]])


@pytest.mark.usefixtures("models")
def test_java_without_a_javascript_engine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path, monkeypatch, ANSWER, release="17.0.15")
    with pytest.raises(MetricUnavailable, match="runs on Java 8 to 14, found Java 17. Install Java 11"):
        spice(CAPTIONS, REFERENCES)


def test_missing_models_are_told_with_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path, monkeypatch, ANSWER)
    monkeypatch.setattr(module, "jar", lambda *_: tmp_path / "spice-1.0.jar")
    wanted = f"Get http://nlp.stanford.edu/.*zip .384 MB. and put {MODELS[0]} and {MODELS[1]} from it into "
    with pytest.raises(MetricUnavailable, match=f"{wanted}{tmp_path / 'lib'}"):
        spice(CAPTIONS, REFERENCES)
