"""BLEU, ROUGE-L and CIDEr are those of the COCO caption code, on a thousand sets of captions."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from eval.bleu import bleu
from eval.cider import cider
from eval.metrics import Metric, Tokens
from eval.rouge import rouge

N_SETS = 1000


def draw_set(rng: random.Random) -> tuple[list[Tokens], list[list[Tokens]]]:
    """Captions and references of one to eight pictures, odd ones among them.

    Of few words, so that much repeats, or of many; captions may be empty or one of the references, and
    pictures may have twenty references.
    """
    words = [chr(0x4E00 + number) for number in range(rng.choice([1, 3, 10, 50]))]
    longest = rng.choice([1, 3, 12, 12, 70])

    def draw(shortest: int) -> Tokens:
        return rng.choices(words, k=rng.randint(shortest, longest))

    references = [[draw(1) for _ in range(rng.choice([1, 1, 2, 5, 20]))] for _ in range(rng.randint(1, 8))]
    candidates = [rng.choice([*sentences, draw(0), draw(0), []]) for sentences in references]
    if rng.random() < 0.1:
        candidates = [candidates[0]] * len(candidates)
    return candidates, references


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [(bleu, lambda: Bleu(4), {"verbose": 0}), (rouge, Rouge, {}), (cider, Cider, {})],
    ids=["bleu", "rouge", "cider"],
)
def test_scores_of_a_thousand_random_sets_are_those_of_pycocoevalcap(
    ours: Metric, theirs: Callable[[], Any], options: dict[str, Any]
) -> None:
    rng = random.Random(0)
    for index in range(N_SETS):
        candidates, references = draw_set(rng)
        overall, per_image = theirs().compute_score(
            {image: [" ".join(tokens) for tokens in sentences] for image, sentences in enumerate(references)},
            {image: [" ".join(tokens)] for image, tokens in enumerate(candidates)},
            **options,
        )
        found = ours(candidates, references)
        if ours is not bleu:
            overall, per_image = [overall], [per_image]
        assert list(found.overall.values()) == pytest.approx(overall, abs=1e-9), f"set {index}"
        for values, wanted in zip(found.per_image.values(), per_image, strict=True):
            assert values == pytest.approx(list(wanted), abs=1e-9), f"set {index}"
