"""Captions scored against human captions, both cut by one protocol.

    evaluate({"1": "两只狗"}, {"1": ["两只狗在玩", "狗"]}).overall["cider"]

Where the same references are used again and again, as in a training run, a `Scorer` prepares them once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from eval.metrics import DEFAULT_METRICS, METRICS, Scores, Tokens, check_metrics
from eval.problems import in_lines
from eval.protocols import Protocol, find_protocol

if TYPE_CHECKING:
    from eval.ngrams import DocumentFrequencies


def evaluate(
    predictions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    protocol: str | Protocol = "aic-icc",
    metrics: Sequence[str] = DEFAULT_METRICS,
) -> Scores:
    """Score one caption a picture against its human captions.

    Args:
        predictions: Image id -> caption; an empty caption scores 0.
        references: Image id -> one or more captions; exactly the same ids.
        protocol: A name in `eval.protocols.PROTOCOLS`, or what `find_protocol` returned.
        metrics: Names in `eval.metrics.METRICS`.

    Raises:
        ValueError: The ids differ, pictures have no reference, references hold no token (all of them are
            told), or a name is unknown or none.
        TypeError: A caption or a reference is not a string (its picture is named), or ``metrics`` is one.
    """
    return Scorer(references, protocol, metrics).score(predictions)


class Scorer:
    """Scores captions of the same pictures any number of times."""

    def __init__(
        self,
        references: Mapping[str, Sequence[str]],
        protocol: str | Protocol = "aic-icc",
        metrics: Sequence[str] = DEFAULT_METRICS,
        document_frequencies: DocumentFrequencies | None = None,
    ) -> None:
        """Cuts the references.

        Args:
            references: Image id -> one or more captions.
            protocol: A name in `eval.protocols.PROTOCOLS`, or what `find_protocol` returned.
            metrics: Names in `eval.metrics.METRICS`.
            document_frequencies: By which CIDEr weighs words, instead of counting them in the references.
                Such scores cannot be compared with published ones.

        Raises:
            ValueError: Pictures have no reference or references hold no token (all of them are told), a name
                is unknown or none, or the document frequencies are of another protocol.
            TypeError: A reference is not a string (its picture is named), or ``metrics`` is one.
        """
        from eval.ngrams import References  # loads numpy, which a command that only prints its help can spare

        self.protocol = find_protocol(protocol) if isinstance(protocol, str) else protocol
        check_metrics(metrics)
        _check_protocol(document_frequencies, self.protocol)
        self.metrics = tuple(metrics)
        self.image_ids = sorted(references)  # the order of a file must not change the last bit of a mean
        cut = _cut_references(references, self.image_ids, self.protocol)
        self._references = References(cut, document_frequencies)

    def score(self, predictions: Mapping[str, str]) -> Scores:
        """Score one caption for each of the pictures.

        Args:
            predictions: Image id -> caption; an empty caption scores 0.

        Raises:
            ValueError: The ids are not those of the references.
            TypeError: A caption is not a string; its picture is named.
        """
        _check_pictures(predictions, self.image_ids)
        for image_id in self.image_ids:
            _check_text(image_id, "caption", predictions[image_id])
        candidates = [self.protocol.cut(predictions[image_id]) for image_id in self.image_ids]
        by_metric = tuple(METRICS[name](candidates, self._references) for name in self.metrics)
        columns = {name: values for score in by_metric for name, values in score.per_image.items()}
        rows = zip(*columns.values(), strict=True)
        return Scores(
            protocol=self.protocol.name,
            segmenter=self.protocol.segmenter.name,
            unit=self.protocol.unit,
            version=self.protocol.version(),
            steps=self.protocol.steps,
            n_images=len(self.image_ids),
            n_references=int(self._references.sizes.sum()),
            overall={name: value for score in by_metric for name, value in score.overall.items()},
            per_image={
                image_id: dict(zip(columns, row, strict=True))
                for image_id, row in zip(self.image_ids, rows, strict=True)
            },
            by_metric=by_metric,
        )


def _check_protocol(frequencies: DocumentFrequencies | None, protocol: Protocol) -> None:
    if frequencies and frequencies.protocol not in ("", protocol.name):
        raise ValueError(
            f"document frequencies were counted under protocol {frequencies.protocol}, captions are cut by "
            f"{protocol.name}; count them again under that one"
        )


def _check_pictures(predictions: Mapping[str, str], image_ids: Sequence[str]) -> None:
    if not predictions:
        raise ValueError("no captions to score")
    missing = sorted(set(image_ids) - predictions.keys())
    extra = sorted(predictions.keys() - set(image_ids))
    if missing or extra:
        raise ValueError(
            f"predictions and references name different pictures: {len(missing)} without a prediction "
            f"{missing[:10]}, {len(extra)} without references {extra[:10]}"
        )


def _check_text(image_id: str, what: str, text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"picture {image_id!r}: wanted a string as its {what}, found {text!r}")


def _cut_references(
    references: Mapping[str, Sequence[str]], image_ids: Sequence[str], protocol: Protocol
) -> list[list[Tokens]]:
    """The references' tokens in the order of the ids; one error tells all pictures without any."""
    problems: list[str] = []
    cut = []
    for image_id in image_ids:
        texts = references[image_id]
        if isinstance(texts, str) or not texts:
            problems.append(f"picture {image_id!r}: wanted a list of one or more references, found {texts!r}")
            continue
        for text in texts:
            _check_text(image_id, "reference", text)
        cut.append([protocol.cut(text) for text in texts])
        problems += [
            f"picture {image_id!r}: reference {text!r} holds no token under {protocol.name}; remove it"
            for text, tokens in zip(texts, cut[-1], strict=True)
            if not tokens
        ]
    if problems:
        raise ValueError(in_lines(problems))
    return cut
