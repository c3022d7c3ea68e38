"""The content of scores.json: every number, and everything that somebody needs to get it again.

docs/formats.md describes it for readers in other languages; its keys stay, and ``schema`` counts up where one
changes its meaning.
"""

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from eval.evaluation import Evaluation, System
from eval.metrics import Scores

SCHEMA = 2
"""1 held a single system, its scores by segmenter."""
RANGES = {"bleu": [0, 1], "rouge-l": [0, 1], "cider": [0, 10]}


def scores_file(evaluation: Evaluation) -> dict[str, Any]:
    """JSON-ready; the same files and settings give the same content, wherever they are scored."""
    return {
        "schema": SCHEMA,
        "scorer": f"tushuo {_version()}",
        "ranges": RANGES,
        "references": asdict(evaluation.references_source),
        "n_images": len(evaluation.references),
        "n_references": sum(map(len, evaluation.references.values())),
        "systems": [_system(system) for system in evaluation.systems],
    }


def _system(system: System) -> dict[str, Any]:
    return {
        "name": system.name,
        "predictions": asdict(system.source),
        "missing": list(system.missing),
        "extra": list(system.extra),
        "scores": {scores.protocol: _scores(scores) for scores in system.scores},
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
        "per_image": scores.per_image,
    }


def _version() -> str:
    try:
        return version("tushuo")
    except PackageNotFoundError:
        return "from source"
