"""English tokens are those of the Stanford tokenizer."""

import json
import random
import shutil
import time
from pathlib import Path

import pytest

from eval.protocols import find_protocol
from eval.ptb import cut_ptb

FAKECAP = Path(__file__).parents[1] / "golden_eval" / "coco_en_fakecap"

SENTENCES = {
    "A man's dog can't run; it's the dogs' bowl.": "a man 's dog ca n't run it 's the dogs bowl",
    "I'd say they're gonna go, but you cannot.": "i 'd say they 're gon na go but you can not",
    "A man on a motorcycle.Another man waits": "a man on a motorcycle.another man waits",
    "A sign says \"STOP\" and 'go' (left).": "a sign says stop and go -lrb- left -rrb-",
    "Typeset: “it’s” ‘so’ — don’t… wait": "typeset it 's so do n't wait",
    "Two t-shirts, well-known and/or black/white": "two t-shirts well-known and/or black/white",
    "Mr. Smith of St. Louis, U.S. and Dr. Jones, etc.": "mr. smith of st. louis u.s. and dr. jones etc.",
    "No. 5 is on the no. The art. of art": "no. 5 is on the no the art of art",
    "Vitamin A. The next": "vitamin a the next",
    "It is 10:30am or 5 p.m. on 1/2/2003": "it is 10:30 am or 5 p.m. on 1/2/2003",
    "3,000 of 3.5 cost $5 (50%), #1 or 1½": "3,000 of 3.5 cost $ 5 -lrb- 50 % -rrb- # 1 or 1 1/2",
    "A 6'2\" man at 5 o'clock with O'Brien, ma'am": "a 6 2 man at 5 o'clock with o'brien ma'am",
    "AT&T, R&B, black & white, black&white": "at&t r&b black & white black & white",
    "rock'n'roll of the '90s; 'tis 1990's": "rock 'n' roll of the '90s 't is 1990 's",
    "Look!! What?! Wait... go -- on --- and - on": "look !! what ?! wait go on and on",
    "See www.example.com or mail a.b@c.org @you #dogs": "see www.example.com or mail a.b@c.org @you #dogs",
    "a smiley :) and :-( <b>bold</b> A&amp;B": "a smiley :-rrb- and :--lrb- <b> bold </b> a&b",
    "café naïve 😀 dog ★ 5°": "café naïve dog ★ 5 °",
    "the bottom left., the top": "the bottom left. the top",
    "a A380, 2x4 boards, a F-16 and C++": "a a380 2x4 boards a f-16 and c++",
    "word,another.third;fourth:fifth": "word another.third fourth fifth",
    "[UNK] {x} 100° * a_b ~ = \\ | ^": "-lsb- unk -rsb- -lcb- x -rcb- 100 ° * a_b ~ = \\ | ^",
    "Call (555) 123-4567 or 555-1234": "call -lrb-555-rrb- 123-4567 or 555-1234",
}
"""Caption -> its tokens under coco-en, as the Java program gives them."""


def coco_en(text: str) -> list[str]:
    return find_protocol("coco-en").cut(text)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_tokens_are_those_of_the_treebank_without_punctuation(sentence: str) -> None:
    assert coco_en(sentence) == SENTENCES[sentence].split(" ")


def test_the_segmenter_keeps_case_and_punctuation() -> None:
    assert cut_ptb('"No," he said (twice).') == [
        "''",
        "No",
        ",",
        "''",
        "he",
        "said",
        "-LRB-",
        "twice",
        "-RRB-",
        ".",
    ]


@pytest.mark.parametrize("unit", ["a", "a,", "1.", "a-", "n't", "<a ", "a@", "(", "狗，", "://", "A&"])
def test_a_caption_of_10_000_characters_takes_less_than_a_second(unit: str) -> None:
    start = time.process_time()
    cut_ptb(unit * (10_000 // len(unit)))
    assert time.process_time() - start < 1


def captions() -> list[str]:
    """English captions of people and of a program."""
    references = json.loads((FAKECAP / "references.json").read_text(encoding="utf-8"))["annotations"]
    predictions = json.loads((FAKECAP / "predictions.json").read_text(encoding="utf-8"))
    return [record["caption"] for record in [*references, *predictions]]


def random_sentences(n: int) -> list[str]:
    """Words of all the sentences above, and single marks, in any order."""
    rng = random.Random(0)
    words = sorted({word for sentence in SENTENCES for word in sentence.split()} | set(".,;:!?-'\"&()"))
    return [" ".join(rng.choices(words, k=rng.randint(2, 10))) for _ in range(n)]


@pytest.mark.skipif(shutil.which("java") is None, reason="needs Java: apt-get install default-jre-headless")
def test_tokens_are_those_of_the_stanford_tokenizer() -> None:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    texts = [*SENTENCES, *captions(), *random_sentences(3000)]
    # whether an abbreviation ends a sentence is decided by the next line: it is the same for all
    lines = {i: [{"caption": text}, {"caption": "next"}] for i, text in enumerate(texts)}
    official = PTBTokenizer().tokenize(lines)
    different = [
        (text, official[i][0].split(), coco_en(text))
        for i, text in enumerate(texts)
        if official[i][0].split() != coco_en(text)
    ]
    assert different == []
