"""A scorer whose references are prepared once, and what its scores would be on other draws of pictures."""

import random

import numpy as np
import pytest

from eval.metrics import METRICS, Score, Tokens
from eval.ngrams import DocumentFrequencies
from eval.scorer import Scorer, evaluate

WORDS = ["狗", "猫", "男人", "草地", "骑车", "在", "上"]
ours = pytest.mark.parametrize("name", ["bleu", "rouge", "cider", "cider-unclipped"])


def draw_captions(rng: random.Random, n_images: int) -> list[Tokens]:
    return [rng.choices(WORDS, k=rng.randrange(1, 9)) for _ in range(n_images)]


def draw_set(seed: int, n_images: int) -> tuple[list[Tokens], list[list[Tokens]]]:
    rng = random.Random(seed)
    captions = [draw_captions(rng, n_images) for _ in range(4)]
    return captions[0], [list(sentences) for sentences in zip(*captions[1:], strict=True)]


def near(score: dict[str, float]) -> dict[str, object]:
    return {name: pytest.approx(value, abs=1e-12) for name, value in score.items()}


@ours
def test_pictures_that_all_count_once_score_what_they_score(name: str) -> None:
    score = METRICS[name](*draw_set(0, 20))
    resampled = score.resampled(np.ones((2, 20)))
    assert {metric: values[1] for metric, values in resampled.items()} == near(score.overall)


@pytest.mark.parametrize(
    "name", ["bleu", "rouge"]
)  # CIDEr's document frequencies stay those of the whole set
def test_a_draw_of_pictures_scores_what_scoring_them_gives(name: str) -> None:
    candidates, references = draw_set(1, 20)
    drawn = [0, 3, 3, 3, 7, 19, 19]
    weights = np.bincount(drawn, minlength=20)[None].astype(float)
    resampled = METRICS[name](candidates, references).resampled(weights)
    wanted = METRICS[name]([candidates[i] for i in drawn], [references[i] for i in drawn])
    assert {metric: values[0] for metric, values in resampled.items()} == near(wanted.overall)


def test_a_draw_of_pictures_has_the_mean_of_their_cider() -> None:
    score = Score.of_means({"cider": [1.0, 2.0, 6.0]})
    assert score.resampled(np.array([[1.0, 1, 0], [0, 0, 3], [2, 1, 1]]))["cider"].tolist() == [1.5, 6, 2.5]


@pytest.mark.parametrize("name", ["bleu", "rouge"])
def test_joined_scores_are_those_of_all_pictures_together(name: str) -> None:
    first, second = draw_set(2, 5), draw_set(3, 8)
    joined = METRICS[name](*first).joined(METRICS[name](*second))
    wanted = METRICS[name](first[0] + second[0], first[1] + second[1])
    assert joined.overall == near(wanted.overall)
    assert joined.per_image == wanted.per_image
    assert joined.resampled(np.ones((1, 13))).keys() == wanted.overall.keys()


def test_bleu_is_joined_with_bleu_only() -> None:
    with pytest.raises(TypeError, match="BLEU can be joined with BLEU only, not with rouge-l"):
        METRICS["bleu"](*draw_set(0, 2)).joined(METRICS["rouge"](*draw_set(0, 2)))


def as_texts(sentences: list[Tokens]) -> dict[str, str]:
    return {f"{index}.jpg": "".join(tokens) for index, tokens in enumerate(sentences)}


def test_a_scorer_scores_again_and_again_what_evaluate_scores_once() -> None:
    rng = random.Random(4)
    references = {
        image_id: [text, text + "玩"] for image_id, text in as_texts(draw_captions(rng, 10)).items()
    }
    scorer = Scorer(references, metrics=tuple(METRICS)[:4])
    for _ in range(3):
        predictions = as_texts(draw_captions(rng, 10))
        assert scorer.score(predictions) == evaluate(predictions, references, metrics=scorer.metrics)


def test_per_picture_numbers_are_those_of_the_metrics() -> None:
    scores = evaluate({"b": "狗", "a": "猫在"}, {"a": ["猫"], "b": ["狗"]}, "chars")
    columns = {name: values for score in scores.by_metric for name, values in score.per_image.items()}
    assert scores.per_image == {
        image_id: {name: values[row] for name, values in columns.items()} for row, image_id in enumerate("ab")
    }


def test_given_document_frequencies_weigh_the_words_of_a_single_picture() -> None:
    frequencies = DocumentFrequencies.of([[["狗"]], [["猫"]], [["狗", "叫"]]], "chars")
    scorer = Scorer({"1": ["狗叫"]}, "chars", ["cider"], frequencies)
    assert scorer.score({"1": "狗叫"}).overall["cider"] == pytest.approx(5)  # no 3-grams, no 4-grams
    assert evaluate({"1": "狗叫"}, {"1": ["狗叫"]}, "chars", ["cider"]).overall["cider"] == 0


def test_document_frequencies_of_another_protocol_are_refused() -> None:
    frequencies = DocumentFrequencies.of([[["狗"]]], "chars")
    with pytest.raises(ValueError, match="counted under protocol chars, captions are cut by aic-icc"):
        Scorer({"1": ["狗"]}, "aic-icc", document_frequencies=frequencies)


def test_all_references_that_cannot_be_used_are_told_at_once() -> None:
    references = {"c": ["狗", "。", " 。 "], "b": ["猫"], "a": []}
    with pytest.raises(ValueError, match="3 problems") as refused:
        Scorer(references, "chars")
    assert str(refused.value).splitlines() == [
        "3 problems:",
        "picture 'a': wanted a list of one or more references, found []",
        "picture 'c': reference '。' holds no token under chars; remove it",
        "picture 'c': reference ' 。 ' holds no token under chars; remove it",
    ]
