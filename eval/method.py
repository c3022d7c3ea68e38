"""How the numbers of an evaluation were made, in words that every output shares.

Two programs give the same captions another CIDEr when they weigh words by other references, and another
interval when they draw otherwise; who repeats or cites a number needs to know. The words are in
`eval.texts`, in Chinese and in English.
"""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from eval.evaluation import Evaluation
from eval.significance import SEED
from eval.texts import TEXTS


def program() -> str:
    """Name and version of this program."""
    try:
        return f"tushuo {version('tushuo')}"
    except PackageNotFoundError:
        return "tushuo from source"


def confidence_text(confidence: float) -> str:
    """A confidence in per cent, with all its digits: 95%, 99.5%."""
    return f"{100 * confidence:.10g}%"


def method(evaluation: Evaluation) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key in `TEXTS`, and the values it stands with, of each thing to know; only of what was measured."""
    scores, settings = evaluation.systems[0].scores[0], evaluation.settings
    yield "method_program", {"program": program()}
    for metric in ("bleu-4", "rouge-l", "cider", "cider-unclipped"):
        if metric in scores.overall:
            yield f"method_{metric}", {"n": scores.n_images} if metric.startswith("cider") else {}
    draws = {"resamples": f"{settings.resamples:,}", "seed": SEED}
    if scores.intervals:
        yield "method_intervals", {"confidence": confidence_text(settings.confidence), **draws}
    if evaluation.comparisons:
        n_systems = len(evaluation.systems)
        yield "method_tests", {"pairs": n_systems * (n_systems - 1) // 2, **draws}


def method_lines(evaluation: Evaluation) -> list[str]:
    """`method` in English sentences."""
    return [TEXTS[key][1].format(**values) for key, values in method(evaluation)]
