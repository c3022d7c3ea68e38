"""The cached search against searches that know no cache, and against every caption there is."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from oscar.backbone import Prefix
from oscar.configuration import OscarConfig
from oscar.decoding import Hypothesis, generate
from oscar.masks import caption_mask
from oscar.modeling import OscarForCaptioning
from tests.oscar.conftest import SIZES, randomise

CLS, SEP, MASK = 2, 3, 4
CONTROL = (0, CLS, MASK)


@dataclass(frozen=True)
class Pictures:
    """Tags and regions of three pictures with different numbers of each."""

    tag_ids: Tensor
    tag_mask: Tensor
    region_features: Tensor
    region_mask: Tensor

    def __len__(self) -> int:
        return len(self.tag_ids)

    def prefix(self, model: OscarForCaptioning) -> Prefix:
        return model.bert.encode_prefix(self.tag_ids, self.tag_mask, self.region_features, self.region_mask)


def make_pictures(config: OscarConfig, seed: int = 0, dtype: torch.dtype = torch.float64) -> Pictures:
    generator = torch.Generator().manual_seed(seed)
    tag_ids = torch.randint(5, config.vocab_size, (3, 4), generator=generator)
    features = torch.randn(3, 5, config.img_feature_dim, generator=generator, dtype=dtype)
    tag_mask = torch.arange(4) < torch.tensor([4, 2, 0])[:, None]
    return Pictures(tag_ids, tag_mask, features, torch.arange(5) < torch.tensor([3, 5, 1])[:, None])


def make_model(seed: int, scale: float = 0.4, **changes: Any) -> OscarForCaptioning:
    model = OscarForCaptioning(OscarConfig(**{**SIZES, **changes}))
    randomise(model, seed, scale)
    return model.eval().double()


@torch.no_grad()
def next_logits(
    model: OscarForCaptioning, pictures: Pictures, i: int, captions: Sequence[Sequence[int]]
) -> Tensor:
    """(N, V) logits of the piece after each caption of n words: whole padded sequences, no cache."""
    slots = cast(int, model.config.max_caption_pieces)
    n, tags = len(captions[0]), pictures.tag_ids[i].tolist()
    text = torch.tensor([[CLS, *words, MASK, *[0] * (slots - n - 2), *tags] for words in captions])
    real = torch.cat([torch.arange(slots) < n + 2, pictures.tag_mask[i], pictures.region_mask[i]])
    hidden = model.bert(
        text,
        pictures.region_features[i].expand(len(text), -1, -1),
        caption_mask(slots, real[None]),
        token_type_ids=torch.tensor([0] * slots + [1] * len(tags))[None],
    )
    return model.word_logits(hidden[:, n + 1])


Ranked = list[tuple[tuple[int, ...], float, bool]]
"""Words, log-probability, finished?"""


class Reference:
    """Plain beam search in Python lists: every step by full forward, always up to the limit."""

    def __init__(self, model: OscarForCaptioning, pictures: Pictures, **rules: Any) -> None:
        self.model, self.pictures = model, pictures
        self.width: int = rules.get("beam_width", 5)
        self.n_best: int = rules.get("n_best", 1)
        self.limit: int = rules["max_pieces"]
        self.shortest: int = rules.get("min_pieces", 1)
        self.penalty: float = rules.get("length_penalty", 1.0)
        self.ngram: int = rules.get("no_repeat_ngram", 0)
        self.forbidden = {*CONTROL, *rules.get("forbidden_ids", ())}

    def allowed(self, words: tuple[int, ...], piece: int) -> bool:
        if piece in self.forbidden or (piece == SEP and len(words) < self.shortest):
            return False
        if piece == SEP or not self.ngram:
            return True
        grams = list(zip(*(((*words, piece)[k:]) for k in range(self.ngram)), strict=False))
        return len(grams) == len(set(grams))

    def score(self, log_prob: float, length: int) -> float:
        return log_prob / length**self.penalty

    def captions(self, i: int) -> Ranked:
        beams: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
        ended: Ranked = []
        for n in range(self.limit + 1):
            candidates = []
            logits = next_logits(self.model, self.pictures, i, [words for words, _ in beams])
            for (words, total), log_probs in zip(beams, logits.log_softmax(-1).tolist(), strict=True):
                allowed = [piece for piece in range(len(log_probs)) if self.allowed(words, piece)]
                best = max(allowed, key=lambda piece: log_probs[piece])
                if n == self.limit:
                    allowed = [SEP]
                finished = n < self.limit or best == SEP
                candidates += [(total + log_probs[piece], words, piece, finished) for piece in allowed]
            candidates.sort(key=lambda candidate: -candidate[0])
            ended += [
                (words, total, finished)
                for total, words, piece, finished in candidates[: self.width]
                if piece == SEP
            ]
            beams = [((*words, piece), total) for total, words, piece, _ in candidates if piece != SEP]
            beams = beams[: self.width]
            if (self.width == 1 and ended) or not beams:
                break
        ended.sort(key=lambda caption: -self.score(caption[1], len(caption[0]) + 1))
        return ended[: self.n_best]


def assert_same(found: list[Hypothesis], expected: Ranked) -> None:
    assert [h.piece_ids for h in found] == [words for words, _, _ in expected]
    assert [h.finished for h in found] == [done for _, _, done in expected]
    assert [h.log_prob for h in found] == pytest.approx([p for _, p, _ in expected], abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([0.15, 0.3, 0.5]),
    rules=st.fixed_dictionaries(
        {
            "beam_width": st.integers(2, 5),
            "n_best": st.integers(1, 2),
            "max_pieces": st.integers(1, 6),
            "min_pieces": st.integers(0, 1),
            "length_penalty": st.sampled_from([0.0, 0.6, 1.0, 1.6, -0.5]),
            "no_repeat_ngram": st.sampled_from([0, 1, 2, 3]),
            "forbidden_ids": st.sampled_from([(), (1,), (1, 7, 8)]),
        }
    ),
)
def test_beam_search_is_the_search_without_cache(seed: int, scale: float, rules: dict[str, Any]) -> None:
    model = make_model(seed, scale, vocab_size=12, num_hidden_layers=2)
    pictures = make_pictures(cast(OscarConfig, model.config), seed)
    found = generate(model, pictures.prefix(model), **rules)
    for i in range(len(pictures)):
        assert_same(found[i], Reference(model, pictures, **rules).captions(i))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), ngram=st.sampled_from([0, 2]), limit=st.integers(1, 9))
def test_beam_width_one_takes_the_most_probable_piece_each_time(seed: int, ngram: int, limit: int) -> None:
    model = make_model(seed, 0.3, vocab_size=15, num_hidden_layers=2)
    pictures = make_pictures(cast(OscarConfig, model.config), seed)
    rules = {"beam_width": 1, "max_pieces": limit, "no_repeat_ngram": ngram}
    found = generate(model, pictures.prefix(model), **rules)
    for i in range(len(pictures)):
        assert_same(found[i], Reference(model, pictures, **rules).captions(i))


@pytest.mark.parametrize("penalty", [0.0, 1.0, 1.7])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_beam_that_covers_everything_finds_the_best_captions_there_are(seed: int, penalty: float) -> None:
    model = make_model(seed, 0.4, vocab_size=8)  # [UNK] and three words can be written
    pictures = make_pictures(cast(OscarConfig, model.config), seed)
    rules = {"beam_width": 300, "n_best": 84, "max_pieces": 3, "length_penalty": penalty}
    found = generate(model, pictures.prefix(model), **rules)
    for i in range(len(pictures)):
        written: dict[tuple[int, ...], float] = {(): 0.0}
        every = []
        for n in range(4):
            captions = list(itertools.product((1, 5, 6, 7), repeat=n))
            log_probs = next_logits(model, pictures, i, captions).log_softmax(-1)
            for words, row in zip(captions, log_probs.tolist(), strict=True):
                written.update({(*words, piece): written[words] + row[piece] for piece in (1, 5, 6, 7)})
                every.append(
                    (
                        words,
                        written[words] + row[SEP],
                        n < 3 or row[SEP] == max(row[p] for p in (1, SEP, 5, 6, 7)),
                    )
                )
        every = every[1:]  # the empty caption may not be written
        every.sort(key=lambda caption: -caption[1] / (len(caption[0]) + 1) ** penalty)
        assert len(found[i]) == 84
        assert_same(found[i], every)


def test_the_score_is_the_log_probability_over_the_length_with_sep(
    make_captioner: Callable[..., OscarForCaptioning],
) -> None:
    model = make_captioner(seed=5).double()
    pictures = make_pictures(cast(OscarConfig, model.config))
    for hypotheses in generate(model, pictures.prefix(model), n_best=5, max_pieces=6, length_penalty=0.7):
        for h in hypotheses:
            assert h.score == pytest.approx(h.log_prob / (len(h.piece_ids) + 1) ** 0.7)
        assert [h.score for h in hypotheses] == sorted((h.score for h in hypotheses), reverse=True)


def test_a_caption_cut_at_the_limit_is_unfinished_and_pays_for_its_sep() -> None:
    model = make_model(0, 0.3, vocab_size=10)
    with torch.no_grad():
        model.cls.predictions.bias[SEP] = -60.0  # [SEP] is never among the candidates
    pictures = make_pictures(cast(OscarConfig, model.config))
    for both in generate(model, pictures.prefix(model), beam_width=2, n_best=2, max_pieces=4):
        assert len(both) == 2
        for cut in both:
            assert not cut.finished
            assert len(cut.piece_ids) == 4
            assert cut.log_prob < -50
            assert cut.score == pytest.approx(cut.log_prob / 5)
    with torch.no_grad():
        model.cls.predictions.bias[SEP] = 60.0  # everything ends at once, nothing lives on
    for (best,) in generate(model, pictures.prefix(model), beam_width=1, max_pieces=4):
        assert best.finished
        assert len(best.piece_ids) == 1
        assert math.isfinite(best.score)


def test_the_first_group_searches_as_if_it_were_alone() -> None:
    model = make_model(6, 0.3, vocab_size=30)
    prefix = make_pictures(cast(OscarConfig, model.config), 6).prefix(model)
    rules: dict[str, Any] = {"max_pieces": 7, "length_penalty": 0.8}
    grouped = generate(model, prefix, beam_width=6, n_best=6, groups=3, diversity=2.0, **rules)
    for found, alone in zip(grouped, generate(model, prefix, beam_width=2, n_best=2, **rules), strict=True):
        assert {h.piece_ids for h in alone} < {h.piece_ids for h in found}
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def test_groups_of_one_beam_are_greedy_searches_that_avoid_what_the_others_just_took() -> None:
    model = make_model(8, 0.3, vocab_size=20)
    pictures = make_pictures(cast(OscarConfig, model.config), 8)
    found = generate(
        model, pictures.prefix(model), beam_width=4, n_best=4, groups=4, diversity=0.7, max_pieces=6
    )
    for i, best in enumerate(found):
        groups: list[tuple[int, ...]] = [()] * 4
        for n in range(6):
            taken: list[int] = []
            for g, words in enumerate(groups):
                if SEP in words:
                    continue
                scores = next_logits(model, pictures, i, [words])[0].log_softmax(0)
                scores[[*CONTROL, *([SEP] if n == 0 else [])]] = -torch.inf
                for piece in taken:
                    scores[piece] -= 0.7
                chosen = int(scores.argmax())
                groups[g] = (*words, chosen)
                taken += [chosen] if chosen != SEP else []
        assert {h.piece_ids for h in best} == {tuple(w for w in words if w != SEP) for words in groups}


def test_groups_that_find_one_caption_return_it_once() -> None:
    model = make_model(8, 0.3, vocab_size=20)
    prefix = make_pictures(cast(OscarConfig, model.config), 8).prefix(model)
    same = generate(model, prefix, beam_width=4, n_best=4, groups=4, diversity=0.0, max_pieces=6)
    once = generate(model, prefix, beam_width=1, max_pieces=6)
    assert [[h.piece_ids for h in best] for best in same] == [[h.piece_ids for h in best] for best in once]


def test_a_picture_gets_the_same_captions_alone_and_in_a_batch() -> None:
    model = make_model(3, 0.3, vocab_size=30)
    prefix = make_pictures(cast(OscarConfig, model.config), 3).prefix(model)
    together = generate(model, prefix, n_best=3, max_pieces=8)
    for i, hypotheses in enumerate(together):
        (alone,) = generate(model, prefix.select(torch.tensor([i])), n_best=3, max_pieces=8)
        assert [h.piece_ids for h in alone] == [h.piece_ids for h in hypotheses]
        assert [h.log_prob for h in alone] == pytest.approx([h.log_prob for h in hypotheses], abs=1e-10)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"beam_width": 0}, "beam_width must be 1 or more, got 0"),
        ({"beam_width": 6, "groups": 4}, "groups must divide beam_width 6 and n_best 1 .*, got 4"),
        ({"beam_width": 6, "groups": 3}, "groups must divide beam_width 6 and n_best 1 .*, got 3"),
        ({"diversity": -1.0}, "diversity must be 0 or more, got -1.0"),
        ({"max_pieces": 4, "repetition_penalty": 0.0}, r"repetition_penalty must be above 0 .*got 0.0"),
        ({"beam_width": 2, "n_best": 3}, "n_best must be between 1 and beam_width 2, got 3"),
        ({"max_pieces": 11}, r"between 1 and 10 \(the model's max_caption_pieces 12 less .*got 11"),
        ({"max_pieces": 4, "min_pieces": 5}, "min_pieces must be between 0 and max_pieces 4, got 5"),
        ({"max_pieces": 4, "no_repeat_ngram": -1}, r"no_repeat_ngram must be 0 \(off\) or more, got -1"),
        ({"max_pieces": 4, "forbidden_ids": [SEP]}, r"holds \[SEP\] \(3\), no caption could end"),
        ({"max_pieces": 4, "forbidden_ids": [40]}, r"forbidden_ids \[40\] are not among the 40 pieces"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(
    rules: dict[str, Any], message: str, make_captioner: Callable[..., OscarForCaptioning]
) -> None:
    model = make_captioner()
    pictures = make_pictures(cast(OscarConfig, model.config), dtype=torch.float32)
    with pytest.raises(ValueError, match=message):
        generate(model, pictures.prefix(model), **rules)
