"""scores.json: every number, and everything that somebody needs to get it again.

docs/formats.md describes it. Keys are never renamed; `SCHEMA` counts up where one changes its meaning.
"""

import json
from dataclasses import asdict
from typing import Any

from eval.evaluation import Evaluation, Settings, System
from eval.method import method_lines, program
from eval.metrics import METRIC_NOTES, Scores
from eval.significance import SEED, Comparison, Interval

SCHEMA = 2
"""1 held a single system, its scores by segmenter, and had no number."""
LEVELS = 6
"""Down to a picture's numbers, which share a line."""


def scores_text(evaluation: Evaluation) -> str:
    """The file's text, ending in a line feed."""
    return _indented(scores_content(evaluation), LEVELS, "\n") + "\n"


def scores_content(evaluation: Evaluation) -> dict[str, Any]:
    """JSON-ready; the same files and settings give the same content, wherever they are scored."""
    return {
        "schema": SCHEMA,
        "scorer": program(),
        "settings": _settings(evaluation.settings),
        "method": method_lines(evaluation),
        "ranges": {
            name: [0, 10 if name.startswith("cider") else 1]
            for name in evaluation.systems[0].scores[0].overall
        },
        "notes": {
            name: METRIC_NOTES[name]
            for name in evaluation.systems[0].scores[0].overall
            if name in METRIC_NOTES
        },
        "references": asdict(evaluation.references_source),
        "n_images": len(evaluation.references),
        "n_references": sum(map(len, evaluation.references.values())),
        "systems": [_system(system) for system in evaluation.systems],
        "warnings": [*map(str, evaluation.cautions)],
        "comparisons": [_comparison(comparison) for comparison in evaluation.comparisons],
    }


def _settings(settings: Settings) -> dict[str, Any]:
    """What decides the numbers."""
    return {
        "protocols": list(settings.protocols),
        "segmenter": settings.segmenter,
        "metrics": list(settings.metrics),
        "allow_missing": settings.allow_missing,
        "allow_extra": settings.allow_extra,
        "resamples": settings.resamples,
        "seed": SEED,
        "interval": "percentile bootstrap over pictures",
        "test": "paired approximate randomisation",
        "correction": "Holm",
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


def _indented(value: Any, levels: int, line_feed: str) -> str:
    """JSON with one entry a line down to some level; `json.dumps` would take ten times as long for it."""
    if not levels or not value or not isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    deeper = line_feed + " "
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    entries = (
        [
            f"{json.dumps(str(key), ensure_ascii=False)}: {_indented(each, levels - 1, deeper)}"
            for key, each in value.items()
        ]
        if isinstance(value, dict)
        else [_indented(each, levels - 1, deeper) for each in value]
    )
    return f"{opening}{deeper}{f',{deeper}'.join(entries)}{line_feed}{closing}"
