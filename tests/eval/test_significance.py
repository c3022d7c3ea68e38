"""Intervals and paired tests against simulations and against programs that score every draw anew."""

import itertools
import random
from collections.abc import Sequence
from statistics import fmean

import numpy as np
import pytest

from eval import significance
from eval.metrics import METRICS, Score, Tokens
from eval.significance import Interval, PairedTest, compare, holm, intervals

NEAR = pytest.approx
WORDS = ["狗", "猫", "男人", "草地", "骑车", "在", "上"]
BLEU = [f"bleu-{n}" for n in range(1, 5)]


def mean_score(values: Sequence[float]) -> Score:
    return Score.of_means({"mean": [float(value) for value in values]})


def sentences(rng: random.Random, n: int) -> list[Tokens]:
    return [rng.choices(WORDS, k=rng.randint(3, 9)) for _ in range(n)]


def only_test(first: Score, second: Score, **options: int) -> PairedTest:
    (comparison,) = compare({"a": [first], "b": [second]}, protocol="chars", **options)
    (test,) = comparison.tests.values()
    return test


def test_the_interval_is_that_of_scoring_every_draw_of_pictures_anew() -> None:
    rng = random.Random(0)
    captions, references = sentences(rng, 12), [sentences(rng, 3) for _ in range(12)]
    generator = np.random.default_rng(5)
    drawn: dict[str, list[float]] = {name: [] for name in BLEU}
    for _ in range(40):
        pictures = generator.integers(12, size=12)
        again = METRICS["bleu"]([captions[i] for i in pictures], [references[i] for i in pictures])
        for name, value in again.overall.items():
            drawn[name].append(value)
    found = intervals(METRICS["bleu"](captions, references), resamples=40, seed=5, confidence=0.8)
    for name, values in drawn.items():
        low, high = np.quantile(values, [0.1, 0.9])
        assert (found[name].low, found[name].high) == NEAR((low, high), abs=1e-12)


def test_several_scores_give_the_intervals_of_each() -> None:
    first, second = mean_score([1, 2, 3, 4]), Score.of_means({"other": [0.5, 0.1, 0.0, 0.2]})
    assert intervals(first, second) == intervals(first) | intervals(second)


def test_intervals_cover_the_true_mean_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    covered = []
    for seed in range(300):
        found = intervals(mean_score(generator.exponential(1.0, 80)), resamples=200, seed=seed)["mean"]
        covered.append(found.low <= 1.0 <= found.high)
    # of 300 intervals at 95 %, the share covered has a standard deviation of 1.3 points; 80 pictures of a
    # skewed distribution cost one or two more
    assert 0.90 <= fmean(covered) <= 0.98


def test_the_interval_of_equal_numbers_has_no_width() -> None:
    assert intervals(mean_score([0.5] * 7))["mean"] == Interval(0.5, 0.5)
    assert intervals(mean_score([0.25]))["mean"] == Interval(0.25, 0.25)


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others() -> None:
    score = mean_score(random.Random(0).choices(range(100), k=30))
    assert intervals(score, seed=3) == intervals(score, seed=3)
    assert intervals(score, seed=3) != intervals(score, seed=4)


def test_how_many_weights_are_held_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    systems = {name: [mean_score([rng.randint(0, 9) for _ in range(16)])] for name in "abc"}
    whole = intervals(*systems["a"]), compare(systems, protocol="chars")
    monkeypatch.setattr(significance, "_CHUNK", 100)
    assert (intervals(*systems["a"]), compare(systems, protocol="chars")) == whole


def test_the_test_is_that_of_scoring_every_exchange_of_captions_anew() -> None:
    rng = random.Random(1)
    references = [sentences(rng, 2) for _ in range(10)]
    first, second = sentences(rng, 10), sentences(rng, 10)
    bleu = METRICS["bleu"]
    found = compare(
        {"a": [bleu(first, references)], "b": [bleu(second, references)]},
        protocol="aic-icc",
        resamples=60,
        seed=2,
    )[0].tests

    def differences(ours: list[Tokens], theirs: list[Tokens]) -> dict[str, float]:
        a, b = bleu(ours, references).overall, bleu(theirs, references).overall
        return {name: a[name] - b[name] for name in BLEU}

    observed = differences(first, second)
    generator = np.random.default_rng(2)
    hits = dict.fromkeys(BLEU, 0)
    for _ in range(60):
        kept = generator.random(10) < 0.5
        ours = [a if keep else b for a, b, keep in zip(first, second, kept, strict=True)]
        theirs = [b if keep else a for a, b, keep in zip(first, second, kept, strict=True)]
        for name, value in differences(ours, theirs).items():
            hits[name] += abs(value) >= abs(observed[name]) - 1e-12
    assert {name: test.difference for name, test in found.items()} == NEAR(observed, abs=1e-12)
    assert {name: test.p_value for name, test in found.items()} == {
        name: (count + 1) / 61 for name, count in hits.items()
    }


def test_the_p_value_is_close_to_that_of_all_exchanges() -> None:
    rng = random.Random(3)
    first, second = ([rng.gauss(shift, 1) for _ in range(10)] for shift in (0.6, 0.0))
    gaps = np.subtract(first, second)
    means = [abs(np.dot(signs, gaps)) for signs in itertools.product([-1, 1], repeat=10)]
    exact = fmean(value >= abs(gaps.sum()) - 1e-12 for value in means)
    # three standard deviations of a share among 4,000
    tolerance = 3 * (exact * (1 - exact) / 4000) ** 0.5
    assert only_test(mean_score(first), mean_score(second), resamples=4000).p_value == NEAR(
        exact, abs=tolerance
    )


def test_p_values_are_uniform_where_systems_are_equally_good() -> None:
    generator = np.random.default_rng(0)
    p_values = []
    for seed in range(400):
        first, second = generator.exponential(1.0, (2, 15))  # few pictures, far from normal
        p_values.append(only_test(mean_score(first), mean_score(second), resamples=99, seed=seed).p_value)
    shares = [fmean(p <= level for p in p_values) for level in (0.05, 0.25, 0.5, 0.75)]
    # three standard deviations of a share among 400
    assert shares[0] == NEAR(0.05, abs=0.033)
    assert shares[1:] == NEAR([0.25, 0.5, 0.75], abs=0.075)


def test_the_interval_of_the_difference_is_that_of_paired_draws() -> None:
    values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0]
    # the second is worse by 0.5 everywhere, which independent draws would blur
    test = only_test(mean_score(values), mean_score([value - 0.5 for value in values]))
    assert (test.interval.low, test.interval.high) == NEAR((0.5, 0.5))
    assert (test.wins, test.ties, test.losses) == (6, 0, 0)


def test_equal_systems_differ_by_nothing() -> None:
    rng = random.Random(0)
    captions, references = sentences(rng, 20), [sentences(rng, 2) for _ in range(20)]
    scores = [METRICS[name](captions, references) for name in ("bleu", "rouge", "cider")]
    (comparison,) = compare({"a": scores, "b": scores}, protocol="aic-icc")
    assert list(comparison.tests) == [*BLEU, "rouge-l", "cider"]
    for test in comparison.tests.values():
        assert (test.difference, test.interval, test.p_value) == (0, Interval(0, 0), 1)
        assert (test.wins, test.ties, test.losses) == (0, 20, 0)


def test_a_difference_no_exchange_reaches_has_the_smallest_p_value() -> None:
    test = only_test(mean_score(range(1, 31)), mean_score([0] * 30), resamples=999)
    assert test.p_value == 1 / 1000


def test_the_p_value_does_not_depend_on_which_system_is_first() -> None:
    rng = random.Random(5)
    first, second = (mean_score([rng.random() for _ in range(25)]) for _ in range(2))
    forth, back = only_test(first, second), only_test(second, first)
    assert forth.difference == -back.difference
    assert forth.p_value == back.p_value
    assert (forth.wins, forth.losses) == (back.losses, back.wins)


def test_rounding_is_no_difference() -> None:
    test = only_test(mean_score([0.1 + 0.2, 0.5]), mean_score([0.3, 0.5]))
    assert (test.p_value, test.ties) == (1, 2)


def test_a_picture_is_won_by_a_thousandth_and_tied_by_less() -> None:
    first = mean_score([5e-9, 0.5009, 0.501, 0.4995, 0.499, 0.4])
    test = only_test(first, mean_score([8e-13, 0.5, 0.5, 0.5, 0.5, 0.5]))
    assert (test.wins, test.ties, test.losses) == (1, 3, 2)


def test_a_caption_does_not_win_by_bleu_4_that_shares_no_run_of_four_words() -> None:
    references = [[list("甲乙丙丁戊")]]
    first, second = (METRICS["bleu"]([list(text)], references) for text in ("甲乙丙戊", "甲乙"))
    assert 0 < second.per_image["bleu-4"][0] != first.per_image["bleu-4"][0] > 0
    test = compare({"a": [first], "b": [second]}, protocol="chars")[0].tests["bleu-4"]
    assert (test.wins, test.ties, test.losses) == (0, 1, 0)


def test_every_pair_of_systems_is_compared_and_corrected_for_their_number() -> None:
    rng = random.Random(0)
    systems = {
        name: [mean_score([rng.gauss(shift, 1) for _ in range(20)])]
        for name, shift in (("a", 0.0), ("b", 0.7), ("c", 0.1))
    }
    found = compare(systems, protocol="chars")
    assert [(each.first, each.second) for each in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    tests = [each.tests["mean"] for each in found]
    assert [test.holm_p_value for test in tests] == holm([test.p_value for test in tests])


def test_two_systems_need_no_correction_and_one_no_test() -> None:
    test = only_test(mean_score([1, 2, 3]), mean_score([1, 2, 4]))
    assert test.holm_p_value == test.p_value
    assert compare({"a": [mean_score([1, 2])]}, protocol="chars") == ()


def test_holm_multiplies_the_smallest_by_the_number_of_tests_and_never_falls() -> None:
    # sorted 0.01 x 4, 0.015 x 3 = 0.045, 0.02 x 2 = 0.04 -> 0.045, 0.9 x 1
    assert holm([0.02, 0.01, 0.9, 0.015]) == NEAR([0.045, 0.04, 0.9, 0.045])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


def test_systems_must_be_scored_alike() -> None:
    with pytest.raises(ValueError, match=r"scores over \[2, 3\] pictures"):
        only_test(mean_score([1, 2]), mean_score([1, 2, 3]))
    with pytest.raises(ValueError, match="scored by different metrics"):
        only_test(mean_score([1, 2]), Score.of_means({"other": [1.0, 2.0]}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resamples": 0}, "resamples must be 1 or more, got 0"),
        ({"confidence": 95}, "confidence must lie between 0 and 1, got 95"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        intervals(mean_score([1, 2]), **options)
    with pytest.raises(ValueError, match=message):
        compare({"a": [mean_score([1, 2])]}, protocol="chars", **options)
