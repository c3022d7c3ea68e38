"""BLEU, ROUGE-L and CIDEr against figures worked by hand."""

import math
import random
from typing import Any

import pytest

from eval.bleu import bleu
from eval.cider import cider
from eval.meteor import NAME as METEOR
from eval.metrics import METRIC_TITLES, METRICS
from eval.rouge import rouge
from eval.scorer import evaluate
from eval.spice import NAME as SPICE

NEAR = pytest.approx


def tokens(*sentences: str) -> list[list[str]]:
    return [sentence.split() for sentence in sentences]


def test_every_number_has_a_title_without_which_tables_would_pass_over_it() -> None:
    names = [
        name
        for metric in METRICS.keys() - {METEOR, SPICE}  # which need Java
        for name in METRICS[metric](tokens("a"), [tokens("a")]).overall
    ]
    assert {*names, METEOR, SPICE} == METRIC_TITLES.keys()


def test_bleu_is_the_geometric_mean_of_clipped_precisions() -> None:
    # 1-grams 3 of 4, 2-grams 2 of 3, 3-grams 1 of 2, 4-grams 0 of 1
    score = bleu(tokens("a b c d"), [tokens("a b c e")])
    assert score.overall["bleu-1"] == NEAR(3 / 4, abs=1e-6)
    assert score.overall["bleu-2"] == NEAR((3 / 4 * 2 / 3) ** (1 / 2), abs=1e-6)
    assert score.overall["bleu-3"] == NEAR((3 / 4 * 2 / 3 * 1 / 2) ** (1 / 3), abs=1e-6)
    assert score.overall["bleu-4"] == NEAR(0, abs=1e-3)


def test_bleu_counts_a_repeated_word_as_often_as_one_reference_holds_it() -> None:
    assert bleu(tokens("a a a a"), [tokens("a b c d", "a a c d")]).overall["bleu-1"] == NEAR(2 / 4, abs=1e-6)


def test_bleu_punishes_a_caption_shorter_than_the_closest_reference() -> None:
    # closest to 2 words is the reference of 4: exp(1 - 4/2)
    score = bleu(tokens("a b"), [tokens("a b c d", "a b c d e f")])
    assert score.overall["bleu-1"] == NEAR(math.exp(-1), abs=1e-6)


def test_overall_bleu_is_of_the_corpus_and_not_the_mean_of_pictures() -> None:
    score = bleu(tokens("a b c d", "x y"), [tokens("a b c d"), tokens("z z")])
    assert score.per_image["bleu-1"] == NEAR([1, 0], abs=1e-6)
    assert score.overall["bleu-1"] == NEAR(4 / 6, abs=1e-6)


def test_rouge_weighs_recall_with_beta_1_2() -> None:
    # longest common subsequence "a c": precision 2/4, recall 2/3
    precision, recall, beta2 = 2 / 4, 2 / 3, 1.2**2
    score = rouge(tokens("a b c d"), [tokens("a c e")])
    assert score.overall["rouge-l"] == NEAR((1 + beta2) * precision * recall / (recall + beta2 * precision))


def test_rouge_takes_the_best_precision_and_the_best_recall_among_references() -> None:
    # precision 1 from the long reference, recall 1 from the short one
    assert rouge(tokens("a b"), [tokens("a b c d", "a")]).overall["rouge-l"] == NEAR(1)


def test_cider_is_the_mean_cosine_of_four_n_gram_lengths_times_ten() -> None:
    # Every n-gram occurs for one of two pictures, so all weigh log 2 and cancel.
    # "a b": cosine 1 for words, 1 for pairs, none longer. "c e" against "c d": 1/2 for words, 0 for pairs.
    score = cider(tokens("a b", "c e"), [tokens("a b"), tokens("c d")])
    assert score.per_image["cider"] == NEAR([10 * (1 + 1) / 4, 10 * 0.5 / 4])
    assert score.overall["cider"] == NEAR((5 + 1.25) / 2)


def test_cider_punishes_another_length_by_a_gaussian_of_six() -> None:
    # "a b x" against "a b": words 2 / (sqrt 3 sqrt 2), pairs 1 / sqrt 2, one pair more
    cosines = 2 / math.sqrt(6) + 1 / math.sqrt(2)
    score = cider(tokens("a b x", "c d"), [tokens("a b"), tokens("c d")])
    assert score.per_image["cider"][0] == NEAR(10 * cosines / 4 * math.exp(-1 / (2 * 6**2)))


def test_cider_gives_no_weight_to_words_of_every_picture() -> None:
    # "in" occurs for both pictures and weighs log(2/2) = 0
    score = cider(tokens("in", "in"), [tokens("in a"), tokens("in b")])
    assert score.overall["cider"] == 0


def test_cider_of_a_single_picture_is_zero() -> None:
    assert cider(tokens("a b c d"), [tokens("a b c d")]).overall["cider"] == 0


CAPTIONS = {
    "1.jpg": "两只狗在雪地里玩耍",
    "2.jpg": "一个男人骑着自行车穿过街道",
    "3.jpg": "孩子们在海边放风筝",
}


@pytest.mark.parametrize("protocol", ["aic-icc", "chars"])
def test_identical_captions_reach_the_top_of_every_scale(protocol: str) -> None:
    scores = evaluate(
        CAPTIONS, {image_id: [caption + "。"] for image_id, caption in CAPTIONS.items()}, protocol
    )
    top = dict.fromkeys(["bleu-1", "bleu-2", "bleu-3", "bleu-4", "rouge-l"], 1.0) | {"cider": 10.0}
    assert scores.overall == NEAR(top, abs=1e-6)
    assert all(figures == NEAR(top, abs=1e-6) for figures in scores.per_image.values())


@pytest.mark.parametrize("protocol", ["aic-icc", "chars"])
def test_captions_without_a_common_token_score_nothing(protocol: str) -> None:
    scores = evaluate(CAPTIONS, dict.fromkeys(CAPTIONS, ["厨房", "桌椅"]), protocol)
    assert scores.overall == NEAR(dict.fromkeys(scores.overall, 0.0), abs=1e-3)


@pytest.mark.parametrize("empty", ["", "。", "  "])
def test_an_empty_caption_scores_nothing_and_lowers_the_rest(empty: str) -> None:
    references = {image_id: [caption] for image_id, caption in CAPTIONS.items()}
    scores = evaluate(CAPTIONS | {"2.jpg": empty}, references)
    assert scores.per_image["2.jpg"] == NEAR(dict.fromkeys(scores.overall, 0.0), abs=1e-6)
    assert scores.overall["cider"] == NEAR(20 / 3, abs=1e-6)


def test_the_order_of_pictures_does_not_change_a_bit() -> None:
    rng = random.Random(0)
    words = ["狗", "猫", "男人", "草地", "骑车", "在", "上"]
    captions = {str(i): "".join(rng.choices(words, k=6)) for i in range(30)}
    references = {key: ["".join(rng.choices(words, k=6)) for _ in range(3)] for key in captions}
    shuffled = dict(rng.sample(sorted(captions.items()), k=len(captions)))
    assert evaluate(captions, references) == evaluate(shuffled, references)


def test_scores_say_what_they_counted() -> None:
    scores = evaluate({"1": "两只狗", "2": "猫"}, {"1": ["两只狗", "狗"], "2": ["猫"]}, "chars")
    assert (scores.segmenter, scores.unit, scores.protocol) == ("chars", "characters", "chars")
    assert (scores.n_images, scores.n_references) == (2, 3)
    assert scores.version.startswith("Unicode ")


def test_only_the_metrics_asked_for_are_computed() -> None:
    scores = evaluate({"1": "狗", "2": "猫"}, {"1": ["狗"], "2": ["猫"]}, metrics=["cider"])
    assert list(scores.overall) == ["cider"]
    assert scores.per_image["1"].keys() == {"cider"}


def test_an_unknown_metric_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError,
        match="unknown metric 'cidre'; choose from bleu, cider, cider-unclipped, meteor, rouge, spice",
    ):
        evaluate({"1": "狗"}, {"1": ["狗"]}, metrics=["cidre"])


def test_metrics_are_a_list_of_one_or_more_names() -> None:
    with pytest.raises(ValueError, match="metrics: wanted one or more of bleu, .*, got none"):
        evaluate({"1": "狗"}, {"1": ["狗"]}, metrics=[])
    with pytest.raises(
        TypeError, match=r"wanted a list of names, such as \['cider'\], got the string 'cider'"
    ):
        evaluate({"1": "狗"}, {"1": ["狗"]}, metrics="cider")


@pytest.mark.parametrize("caption", [None, ["狗"]])
def test_a_caption_or_reference_that_is_no_string_is_told_with_its_picture(caption: Any) -> None:
    people = {"1": ["狗"], "2": ["猫"]}
    with pytest.raises(TypeError, match="picture '2': wanted a string as its caption, found "):
        evaluate({"1": "狗", "2": caption}, people)
    with pytest.raises(TypeError, match="picture '2': wanted a string as its reference, found "):
        evaluate({"1": "狗", "2": "猫"}, {**people, "2": ["猫", caption]})


def test_pictures_must_be_the_same_on_both_sides() -> None:
    wanted = r"1 without a prediction \['b'\], 2 without references \['c', 'd'\]"
    with pytest.raises(ValueError, match=wanted):
        evaluate({"a": "狗", "c": "狗", "d": "狗"}, {"a": ["狗"], "b": ["狗"]})


@pytest.mark.parametrize("references", [[], "狗"])
def test_references_are_a_list_of_one_or_more(references: list[str] | str) -> None:
    with pytest.raises(ValueError, match="picture '1': wanted a list of one or more references, found"):
        evaluate({"1": "狗"}, {"1": references})


def test_a_reference_without_a_token_is_named() -> None:
    with pytest.raises(ValueError, match="picture '1': reference '。' holds no token under aic-icc"):
        evaluate({"1": "狗"}, {"1": ["狗", "。"]})


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="no captions to score"):
        evaluate({}, {})


def test_metrics_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    evaluate(CAPTIONS, {image_id: [caption] for image_id, caption in CAPTIONS.items()})
    assert capfd.readouterr() == ("", "")
