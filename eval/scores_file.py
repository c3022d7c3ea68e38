"""The content of scores.json: every number, and everything that somebody needs to get it again.

docs/formats.md describes it. Keys are never renamed; `SCHEMA` counts up where one changes its meaning.
"""

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from eval.evaluation import Evaluation, Settings, System
from eval.metrics import Scores
from eval.significance import Comparison, Interval

SCHEMA = 2
"""1 held a single system, its scores by segmenter, and had no number."""
RANGES = {"bleu": [0, 1], "rouge-l": [0, 1], "cider": [0, 10]}


def scores_file(evaluation: Evaluation) -> dict[str, Any]:
    """JSON-ready; the same files and settings give the same content, wherever they are scored."""
    return {
        "schema": SCHEMA,
        "scorer": f"tushuo {_version()}",
        "settings": _settings(evaluation.settings),
        "ranges": RANGES,
        "references": asdict(evaluation.references_source),
        "n_images": len(evaluation.references),
        "n_references": sum(map(len, evaluation.references.values())),
        "systems": [_system(system) for system in evaluation.systems],
        "comparisons": [_comparison(comparison) for comparison in evaluation.comparisons],
    }


def _version() -> str:
    try:
        return version("tushuo")
    except PackageNotFoundError:
        return "from source"


def _settings(settings: Settings) -> dict[str, Any]:
    """What decides the numbers."""
    return {
        "protocols": list(settings.protocols),
        "segmenter": settings.segmenter,
        "metrics": list(settings.metrics),
        "allow_missing": settings.allow_missing,
        "allow_extra": settings.allow_extra,
        "resamples": settings.resamples,
        "confidence": settings.confidence,
        "regions": str(settings.regions) if settings.regions else None,
    }


def _system(system: System) -> dict[str, Any]:
    return {
        "name": system.name,
        "predictions": asdict(system.source),
        "missing": list(system.missing),
        "extra": list(system.extra),
        "scores": {
            scores.protocol: _scores(scores) | {"diversity": asdict(diversity)}
            for scores, diversity in zip(system.scores, system.diversity, strict=True)
        },
        "tag_recall": asdict(system.tag_recall) if system.tag_recall else None,
    }


def _scores(scores: Scores) -> dict[str, Any]:
    return {
        "segmenter": scores.segmenter,
        "version": scores.version,
        "unit": scores.unit,
        "steps": list(scores.steps),
        "n_images": scores.n_images,
        "n_references": scores.n_references,
        "overall": scores.overall,
        "intervals": {name: _interval(interval) for name, interval in scores.intervals.items()},
        "per_image": scores.per_image,
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "first": comparison.first,
        "second": comparison.second,
        "protocol": comparison.protocol,
        "tests": {
            name: asdict(test) | {"interval": _interval(test.interval)}
            for name, test in comparison.tests.items()
        },
    }


def _interval(interval: Interval) -> list[float]:
    return [interval.low, interval.high]
