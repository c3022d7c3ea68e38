"""BLEU-1..4, ROUGE-L and CIDEr of captions against human captions.

`evaluate` cuts both sides by one protocol and hands the tokens to the metrics in `METRICS`; the numbers
are those of the COCO caption code. BLEU and ROUGE-L are computed by its package pycocoevalcap (pure Python
parts only: no Java, no tokenizer), CIDEr, many times faster and to the same last digits, by `eval.cider`.
BLEU and ROUGE-L lie in 0..1, CIDEr in 0..10. BLEU: Papineni et al. 2002, closest reference length; ROUGE-L:
Lin 2004, beta 1.2; CIDEr: arXiv:1411.5726, document frequencies from the references of the scored pictures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from eval.cider import CiderD, Tokens
from eval.protocols import Protocol, find_protocol


@dataclass(frozen=True)
class Score:
    """The numbers of one metric; BLEU has four names, the others one."""

    overall: dict[str, float]
    per_image: dict[str, list[float]]
    """Name -> one number a picture, in the order of the candidates."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """All that `evaluate` found out, with what a reader needs to repeat it."""

    protocol: str
    segmenter: str
    unit: str
    """What is counted: words, characters, given words."""
    version: str
    """Of the segmenter, with its dictionary."""
    steps: tuple[str, ...]
    """From a sentence to its tokens."""
    n_images: int
    n_references: int
    overall: dict[str, float]
    per_image: dict[str, dict[str, float]]
    """Image id -> metric name -> number, in the order of the ids."""
    by_metric: tuple[Score, ...]
    """What ``overall`` and ``per_image`` were taken from, pictures in the same order."""


def bleu(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Score:
    """BLEU-1..4 with the closest reference length; overall is of the whole corpus, not a mean."""
    from pycocoevalcap.bleu.bleu import Bleu

    overall, per_image = _compute(Bleu(4), candidates, references, verbose=0)
    names = [f"bleu-{n}" for n in range(1, 5)]
    return Score(
        overall={name: float(value) for name, value in zip(names, overall, strict=True)},
        per_image={name: [float(v) for v in values] for name, values in zip(names, per_image, strict=True)},
    )


def rouge(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Score:
    """ROUGE-L: F-measure (beta 1.2) of the best precision and the best recall among the references."""
    from pycocoevalcap.rouge.rouge import Rouge

    overall, per_image = _compute(Rouge(), candidates, references)
    return Score({"rouge-l": float(overall)}, {"rouge-l": [float(value) for value in per_image]})


def cider(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Score:
    """CIDEr as the COCO server computes it, which is CIDEr-D; see `eval.cider`.

    Words are weighted by how few pictures' references hold them: a single picture scores 0 whatever its
    caption, and a score depends on the whole set that was scored.
    """
    per_image = CiderD(references).score(candidates)
    return Score({"cider": fmean(per_image)}, {"cider": per_image})


METRICS: dict[str, Callable[[Sequence[Tokens], Sequence[Sequence[Tokens]]], Score]] = {
    "bleu": bleu,
    "rouge": rouge,
    "cider": cider,
}
METRIC_TITLES = {
    "bleu-1": "BLEU-1",
    "bleu-2": "BLEU-2",
    "bleu-3": "BLEU-3",
    "bleu-4": "BLEU-4",
    "rouge-l": "ROUGE-L",
    "cider": "CIDEr",
}
"""Name in `Scores` -> name in tables, in their order."""


def evaluate(
    predictions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    protocol: str | Protocol = "aic-icc",
    metrics: Sequence[str] = tuple(METRICS),
) -> Scores:
    """Score one caption a picture against its human captions.

    Args:
        predictions: Image id -> caption; an empty caption scores 0.
        references: Image id -> one or more captions; exactly the same ids.
        protocol: A name in `eval.protocols.PROTOCOLS`, or what `find_protocol` returned.
        metrics: Names in `METRICS`.

    Raises:
        ValueError: The ids differ, a picture has no reference, a reference holds no token, or a name is
            unknown.
    """
    found = find_protocol(protocol) if isinstance(protocol, str) else protocol
    for name in metrics:
        if name not in METRICS:
            raise ValueError(f"unknown metric {name!r}; choose from {', '.join(sorted(METRICS))}")
    _check_pictures(predictions, references)
    image_ids = sorted(predictions)  # the order of a file must not change the last bit of a mean
    candidates = [found.cut(predictions[image_id]) for image_id in image_ids]
    cut = [_cut_references(image_id, references[image_id], found) for image_id in image_ids]
    overall: dict[str, float] = {}
    per_image: dict[str, dict[str, float]] = {image_id: {} for image_id in image_ids}
    by_metric = tuple(METRICS[name](candidates, cut) for name in metrics)
    for score in by_metric:
        overall.update(score.overall)
        for metric, values in score.per_image.items():
            for image_id, value in zip(image_ids, values, strict=True):
                per_image[image_id][metric] = value
    return Scores(
        protocol=found.name,
        segmenter=found.segmenter.name,
        unit=found.unit,
        version=found.version(),
        steps=found.steps,
        n_images=len(image_ids),
        n_references=sum(len(sentences) for sentences in cut),
        overall=overall,
        per_image=per_image,
        by_metric=by_metric,
    )


def _check_pictures(predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> None:
    if not predictions:
        raise ValueError("no captions to score")
    missing = sorted(references.keys() - predictions.keys())
    extra = sorted(predictions.keys() - references.keys())
    if missing or extra:
        raise ValueError(
            f"predictions and references name different pictures: {len(missing)} without a prediction "
            f"{missing[:10]}, {len(extra)} without references {extra[:10]}"
        )
    for image_id, sentences in references.items():
        if isinstance(sentences, str) or not sentences:
            raise ValueError(
                f"picture {image_id!r}: wanted a list of one or more references, found {sentences!r}"
            )


def _cut_references(image_id: str, texts: Sequence[str], protocol: Protocol) -> list[Tokens]:
    sentences = [protocol.cut(text) for text in texts]
    if [] in sentences:
        text = texts[sentences.index([])]
        raise ValueError(
            f"picture {image_id!r}: reference {text!r} holds no token under {protocol.name}; remove it"
        )
    return sentences


def _compute(
    scorer: Any, candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]], **options: Any
) -> Any:
    """Run a pycocoevalcap scorer, which reads token strings keyed by picture."""
    found = {index: [" ".join(tokens)] for index, tokens in enumerate(candidates)}
    wanted = {index: [" ".join(tokens) for tokens in sentences] for index, sentences in enumerate(references)}
    return scorer.compute_score(wanted, found, **options)
