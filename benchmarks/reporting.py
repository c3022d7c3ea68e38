"""What segmenter, punctuation, references and word weights do to the scores of the same captions.

    pip install --no-deps --target build/jieba-0.38 jieba==0.38
    python -m benchmarks.reporting --old_jieba build/jieba-0.38 --out benchmarks/results/reporting.json

Every number of docs/scores.md: 1,000 captions of one system about the test pictures of COCO-CN, and 6,033
human captions, all in tests/golden_eval, whose words are separated by spaces. `tables` puts the result in the
form in which the page holds it. Takes half a minute.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.results import tell
from eval.metrics import METRIC_TITLES, Scores
from eval.ngrams import DocumentFrequencies
from eval.protocols import PROTOCOLS, Protocol, compose, joined
from eval.scorer import Scorer, evaluate
from eval.significance import intervals

GOLDEN = Path(__file__).parents[1] / "tests" / "golden_eval" / "coco_cn_test"
SYSTEM = "coco-cn"
SYSTEMS = ("coco-cn", "flickr8k-cn", "aic-icc")
WRITTEN, TRANSLATED = "cn", "zhm"
HEADLINE = PROTOCOLS["aic-icc"]
SMALL_SET = 100
"""Pictures of a small test set, in which words weigh differently."""
METRICS = ("bleu-1", "bleu-4", "rouge-l", "cider")

Captions = dict[str, str]
References = dict[str, list[str]]
Row = dict[str, Any]

JIEBA = """
import hashlib, json, pathlib, sys
import jieba
jieba.setLogLevel(60)
dictionary = pathlib.Path(jieba.__file__).with_name("dict.txt").read_bytes()
sentences, options = json.load(sys.stdin)
words = [list(jieba.cut(sentence, **options)) for sentence in sentences]
json.dump([jieba.__version__, hashlib.sha256(dictionary).hexdigest(), words], sys.stdout)
"""


def captions_of(system: str) -> Captions:
    """Picture -> caption, its words separated by spaces."""
    records = json.loads((GOLDEN / f"predictions_{system}.json").read_text(encoding="utf-8"))
    return {str(record["image_id"]): record["caption"] for record in records}


def references_of(*sources: str) -> References:
    """Picture -> its human captions of these sources."""
    references: References = {}
    for record in json.loads((GOLDEN / "references.json").read_text(encoding="utf-8"))["annotations"]:
        if record["source"] in sources:
            references.setdefault(str(record["image_id"]), []).append(record["caption"])
    return references


def of_captions(change: Callable[[str], str], captions: Captions) -> Captions:
    """Every caption changed."""
    return {image_id: change(text) for image_id, text in captions.items()}


def of_references(change: Callable[[str], str], references: References) -> References:
    """Every human caption changed."""
    return {image_id: [change(text) for text in texts] for image_id, texts in references.items()}


def jieba_words(
    sentences: Iterable[str], folder: Path | None = None, options: Mapping[str, bool] | None = None
) -> tuple[str, str, dict[str, list[str]]]:
    """Version of a jieba, the SHA-256 of its dictionary, and how it cuts each sentence.

    It runs in a process of its own, with a temporary folder of its own: every jieba keeps its dictionary
    there under the same name, and would read that of another version.

    Args:
        sentences: As the protocol hands them over.
        folder: Where another jieba is installed; without it, the one that is pinned.
        options: Of ``jieba.cut``.
    """
    asked = sorted(set(sentences))
    with tempfile.TemporaryDirectory() as temporary:
        environment = {**os.environ, "TMPDIR": temporary, "PYTHONWARNINGS": "ignore"}
        if folder:
            environment["PYTHONPATH"] = str(folder.absolute())
        done = subprocess.run(
            [sys.executable, "-c", JIEBA],
            env=environment,
            input=json.dumps([asked, options or {}]),
            capture_output=True,
            text=True,
            check=True,
        )
    release, digest, words = json.loads(done.stdout)
    return release, digest, dict(zip(asked, words, strict=True))


def cutting(name: str, words: Mapping[str, list[str]]) -> Protocol:
    """The headline protocol with other words."""
    segmenter = replace(HEADLINE.segmenter, name=name, cut=words.__getitem__)
    return replace(HEADLINE, name=f"{HEADLINE.name}+{name}", segmenter=segmenter, pinned="")


def row(label: str, scores: Scores) -> Row:
    """A line of a table."""
    return {"label": label, **{name: round(scores.overall[name], 4) for name in METRICS}}


def by_segmenter(captions: Captions, references: References, old_jieba: Path | None) -> Iterator[Row]:
    """The same sentences, cut in different ways, with the mean number of tokens of a human caption."""

    def cut(label: str, protocol: Protocol, captions: Captions, references: References) -> Row:
        lengths = [len(protocol.cut(text)) for text in all_texts({}, references)]
        scores = evaluate(captions, references, protocol)
        return {**row(label, scores), "tokens": round(fmean(lengths), 4)}

    yield cut("words given by COCO-CN (`coco-cn`)", PROTOCOLS["coco-cn"], captions, references)
    yield cut("jieba 0.42.1 (`aic-icc`)", HEADLINE, captions, references)
    sentences = [HEADLINE.prepare(text) for text in all_texts(captions, references)]
    if old_jieba:
        release, _, words = jieba_words(sentences, old_jieba)
        yield cut(f"jieba {release}", cutting(release, words), captions, references)
    for label, options in (
        ("jieba 0.42.1 without HMM", {"HMM": False}),
        ("jieba 0.42.1, full mode", {"cut_all": True}),
    ):
        words = jieba_words(sentences, options=options)[2]
        yield cut(label, cutting("other", words), captions, references)
    yield cut("characters (`chars`)", PROTOCOLS["chars"], captions, references)
    texts, people = of_captions(_unspaced, captions), of_references(_unspaced, references)
    yield cut("none: Chinese given to `coco-en`", PROTOCOLS["coco-en"], texts, people)


def _unspaced(text: str) -> str:
    return "".join(text.split())


def all_texts(captions: Captions, references: References) -> list[str]:
    """Every sentence of both sides."""
    return [*captions.values(), *(text for texts in references.values() for text in texts)]


def by_punctuation(captions: Captions, references: References) -> Iterator[Row]:
    """Full stops added where a careless pipeline leaves them, and other marks taken away."""
    kept = replace(HEADLINE, name="full stops kept", prepare=lambda text: joined(compose(text).strip()))
    stopped, people_stopped = of_captions(_stopped, captions), of_references(_stopped, references)
    yield row("none, or stripped on both sides (`aic-icc`)", evaluate(stopped, people_stopped, HEADLINE))
    yield row("kept on both sides", evaluate(stopped, people_stopped, kept))
    yield row("kept in the references only", evaluate(captions, people_stopped, kept))
    yield row("kept in the captions only", evaluate(stopped, references, kept))
    bare = of_captions(_without_marks, captions), of_references(_without_marks, references)
    yield row("every mark taken away", evaluate(*bare, HEADLINE))
    narrow = of_captions(_narrow, captions), of_references(_narrow, references)
    yield row("full-width forms made half-width (NFKC)", evaluate(*narrow, HEADLINE))


def _stopped(text: str) -> str:
    return f"{text}。"


def _without_marks(text: str) -> str:
    return "".join(character for character in text if not unicodedata.category(character).startswith("P"))


def _narrow(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def by_references(captions: Captions) -> Iterator[Row]:
    """The same captions against other human captions of the same pictures."""
    written, translated = references_of(WRITTEN), references_of(TRANSLATED)
    for label, references in {
        "all 6,033: 5 or more a picture": references_of(WRITTEN, TRANSLATED),
        "5,000 translated from English: 5 a picture": translated,
        "1,033 written in Chinese: 1 or 2 a picture": written,
        "the first translated one": {image_id: texts[:1] for image_id, texts in translated.items()},
        "the first written one": {image_id: texts[:1] for image_id, texts in written.items()},
    }.items():
        yield row(label, evaluate(captions, references, HEADLINE))


def by_frequencies(captions: Captions, references: References) -> Iterator[Row]:
    """CIDEr, with its words weighed by how rare they are in other human captions."""
    small = sorted(references)[:SMALL_SET]
    few = {image_id: references[image_id] for image_id in small}
    for label, scored, counted in (
        ("1,000 pictures, counted in all their references", references, references),
        ("1,000 pictures, counted in the translated references", references, references_of(TRANSLATED)),
        ("1,000 pictures, counted in the written references", references, references_of(WRITTEN)),
        (f"the first {SMALL_SET} pictures, counted in their own references", few, few),
        (f"the first {SMALL_SET} pictures, counted in the references of all 1,000", few, references),
    ):
        cut = [[HEADLINE.cut(text) for text in texts] for texts in counted.values()]
        scorer = Scorer(scored, HEADLINE, ["cider"], DocumentFrequencies.of(cut, HEADLINE.name))
        scores = scorer.score({image_id: captions[image_id] for image_id in scored})
        yield {"label": label, "cider": round(scores.overall["cider"], 4)}


def by_system(references: References) -> Iterator[Row]:
    """Three systems under three protocols: which is ahead, and by how much."""
    for system in SYSTEMS:
        captions = captions_of(system)
        yield {
            "label": f"system {system}",
            **{
                name: round(evaluate(captions, references, name).overall["cider"], 4)
                for name in ("coco-cn", "aic-icc", "chars")
            },
        }


def jieba_releases(captions: Captions, references: References, old_jieba: Path) -> dict[str, Any]:
    """How many sentences two releases of jieba cut differently."""
    found: dict[str, Any] = {}
    sentences = [HEADLINE.prepare(text) for text in all_texts(captions, references)]
    cuts = []
    for name, folder in (("old", old_jieba), ("pinned", None)):
        release, digest, words = jieba_words(sentences, folder)
        found[name] = {"release": release, "dictionary_sha256": digest}
        cuts.append(words)
    for side, texts in (("captions", captions.values()), ("references", all_texts({}, references))):
        listed = [*map(HEADLINE.prepare, texts)]
        found[side] = {
            "sentences": len(listed),
            "cut_differently": sum(cuts[0][text] != cuts[1][text] for text in listed),
        }
    return found


def measure(old_jieba: Path | None) -> dict[str, Any]:
    """All numbers of the page."""
    captions, references = captions_of(SYSTEM), references_of(WRITTEN, TRANSLATED)
    headline = evaluate(captions, references, HEADLINE)
    ends = intervals(*headline.by_metric)
    files = [GOLDEN / f"predictions_{SYSTEM}.json", GOLDEN / "references.json"]
    return {
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "n_images": headline.n_images,
        "n_references": headline.n_references,
        "version": headline.version,
        "segmenter": list(by_segmenter(captions, references, old_jieba)),
        "punctuation": list(by_punctuation(captions, references)),
        "references": list(by_references(captions)),
        "frequencies": list(by_frequencies(captions, references)),
        "systems": list(by_system(references)),
        "intervals": {name: [round(ends[name].low, 4), round(ends[name].high, 4)] for name in METRICS},
        "jieba": jieba_releases(captions, references, old_jieba) if old_jieba else None,
    }


def tables(result: Mapping[str, Any]) -> dict[str, str]:
    """The tables of docs/scores.md, by their keys in the result."""
    scores = {name: METRIC_TITLES[name] for name in METRICS}
    columns = {
        "segmenter": ("words", {"tokens": "tokens", **scores}),
        "punctuation": ("full stops", scores),
        "references": ("human captions", scores),
        "frequencies": ("document frequencies", {"cider": METRIC_TITLES["cider"]}),
        "systems": ("CIDEr", {name: f"`{name}`" for name in ("coco-cn", "aic-icc", "chars")}),
    }
    return {key: _table(result[key], first, titles) for key, (first, titles) in columns.items()}


def _table(rows: list[Row], first: str, titles: Mapping[str, str]) -> str:
    lines = [f"| {first} | {' | '.join(titles.values())} |", "|---|" + "---|" * len(titles)]
    lines += [
        f"| {each['label']} | {' | '.join(format(each[name], '.3f') for name in titles)} |" for each in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--old_jieba", type=Path, help="folder with another jieba, to compare with")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    result = measure(given.old_jieba)
    tell(result, given.out)
    for table in tables(result).values():
        print(f"\n{table}")


if __name__ == "__main__":
    main()
