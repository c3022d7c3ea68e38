"""The bundled captioner looks at its pictures; tags and habit alone do not make its captions."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from captioning.captioner import Captioner
from eval.annotations import read_references
from features.store import Regions

SAMPLES = Path(__file__).parents[2] / "examples" / "images"
OTHERS = 5


def test_what_people_say_of_a_picture_is_likelier_with_its_regions_than_with_those_of_others() -> None:
    captioner = Captioner.from_pretrained("mini", device="cpu")
    people = read_references(SAMPLES / "captions.json")
    found = list(captioner.extractor.extract([SAMPLES / name for name in people]))
    regions = [each for each in found if isinstance(each, Regions)]
    assert len(regions) == len(people) == 19

    def likelihood(texts: list[str], picture: Regions) -> float:
        return fmean(scored.score for scored in captioner.score(picture, texts))

    nearer = 0
    for row, texts in enumerate(people.values()):
        others = [regions[(row + step) % len(regions)] for step in range(1, OTHERS + 1)]
        own = likelihood(list(texts), regions[row])
        nearer += own > fmean(likelihood(list(texts), other) for other in others)
    assert nearer >= 15  # of 19: who does not look gets there in one case of a hundred
