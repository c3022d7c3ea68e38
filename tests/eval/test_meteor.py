"""METEOR against the program's own numbers, and what is sent to the program."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.meteor import MeteorScore, meteor
from eval.metrics import METRICS, Score
from tests.eval.fake_java import fake_java

NEAR = pytest.approx
needs_java = pytest.mark.skipif(
    shutil.which("java") is None, reason="METEOR needs Java: apt-get install default-jre-headless"
)

CAPTIONS = {
    "一只 狗 在 草地 上 奔跑": ["一条 狗 在 草坪 上 跑", "狗 在 草地 上"],
    "一 只 狗 在 草 地 上 奔 跑": ["一条 狗 在 草坪 上 跑", "狗 在 草地 上"],
    "两个 男人 骑 自行车": ["两个 男人 骑 自行车", "街道"],
    "城堡": ["厨房"],
    "a dog is running on the grass": ["the dog runs on grass", "a puppy ran"],
    "猫 ||| 坐 在": ["猫 坐 在 ||| 沙发"],
    "": ["一只 猫"],
}


@pytest.fixture(scope="module")
def score() -> MeteorScore:
    candidates = [caption.split() for caption in CAPTIONS]
    return meteor(candidates, [[text.split() for text in texts] for texts in CAPTIONS.values()])


@needs_java
def test_scores_are_those_of_pycocoevalcap(score: MeteorScore) -> None:
    from pycocoevalcap.meteor.meteor import Meteor

    # which takes the program's separator out of captions only
    wanted = {i: [text.replace("||| ", "") for text in texts] for i, texts in enumerate(CAPTIONS.values())}
    oracle: Any = Meteor()
    overall, per_image = oracle.compute_score(wanted, {i: [caption] for i, caption in enumerate(CAPTIONS)})
    for pipe in (oracle.meteor_p.stdout, oracle.meteor_p.stderr):  # it closes only one of its pipes
        pipe.close()
    assert score.overall["meteor"] == NEAR(overall, abs=1e-12)
    assert score.per_image["meteor"] == NEAR(per_image, abs=1e-12)


@needs_java
def test_chinese_is_split_into_characters_however_it_was_cut(score: MeteorScore) -> None:
    assert score.counts[0].tolist() == score.counts[1].tolist()
    # nine characters, at a content word's weight of 0.75
    assert score.counts[0][2] == 9 * 0.75


@needs_java
def test_a_caption_that_is_a_reference_scores_1_and_one_without_a_match_0(score: MeteorScore) -> None:
    assert score.per_image["meteor"][2] == 1
    assert score.per_image["meteor"][3] == score.per_image["meteor"][-1] == 0


def counts(*rows: tuple[float, ...]) -> MeteorScore:
    return MeteorScore.of_counts(np.array(rows, float))


# 3 of 4 words matched in a reference of 5, in 2 stretches; 1 of 2 in a reference of 2
FIRST = (2.25, 2.25, 3.0, 3.75, 2, 3)
SECOND = (0.75, 0.75, 1.5, 1.5, 1, 1)


def test_precision_recall_and_breaks_make_the_score() -> None:
    precision, recall = 3 / 4, 3 / 5
    mean = precision * recall / (0.85 * precision + 0.15 * recall)
    assert counts(FIRST).overall["meteor"] == NEAR(mean * (1 - 0.6 * (2 / 3) ** 0.2))


def test_overall_is_of_the_corpus_and_not_the_mean_of_pictures() -> None:
    both = counts(FIRST, SECOND)
    assert both.overall == counts(tuple(np.add(FIRST, SECOND))).overall
    assert both.overall["meteor"] != NEAR(sum(both.per_image["meteor"]) / 2, abs=1e-3)


def test_a_resampled_score_is_that_of_the_drawn_pictures() -> None:
    found = counts(FIRST, SECOND).resampled(np.array([[2.0, 0.0], [1.0, 1.0], [3.0, 1.0]]))["meteor"]
    drawn = [(FIRST, FIRST), (FIRST, SECOND), (FIRST, FIRST, FIRST, SECOND)]
    assert found == NEAR([counts(*rows).overall["meteor"] for rows in drawn])


def test_scores_join_with_their_kind_only() -> None:
    joined = counts(FIRST).joined(counts(SECOND))
    assert joined == counts(FIRST, SECOND)
    with pytest.raises(TypeError, match="METEOR can be joined with METEOR only, not with mean"):
        joined.joined(Score.of_means({"mean": [1.0]}))


def test_every_caption_is_one_line_that_only_the_program_separates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = tmp_path / "sent"
    fake_java(
        tmp_path,
        monkeypatch,
        f"lines = sys.stdin.buffer.read()\nopen({str(sent)!r}, 'wb').write(lines)\n"
        "print(('0.0 ' * 23 + '\\n') * lines.count(b'\\n'))",
    )
    METRICS["meteor"]([["狗", "|||", "在"], ["a\nb"]], [[["狗|||"], ["猫"]], [["a\r"]]])
    assert sent.read_text(encoding="utf-8") == "SCORE ||| 狗 ||| 猫 ||| 狗 在\nSCORE ||| a ||| a b\n"


@pytest.mark.parametrize("answer", ["", "0.5", "Error: specify SCORE", "0.0 " * 23 + "\\n" + "0.0 " * 23])
def test_another_answer_than_expected_is_shown(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_java(tmp_path, monkeypatch, f"sys.stdin.read()\nprint('{answer}')")
    with pytest.raises(ChildProcessError, match="METEOR: wanted 1 lines of 23 numbers, found '"):
        meteor([["狗"]], [[["狗"]]])
