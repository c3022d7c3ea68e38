"""Captions in, scores out; no torch.

Write ``from eval import evaluate``, never a bare ``import eval``, which would hide the builtin::

    >>> from eval import compare, evaluate
    >>> people = {"1": ["两只狗在雪地里玩耍", "雪地里有两只狗"], "2": ["一个男人骑着自行车"]}
    >>> ours = evaluate({"1": "两只狗在雪地里奔跑", "2": "一个男人骑着马"}, people)
    >>> ours.protocol, ours.unit, ours.n_references
    ('aic-icc', 'words', 3)
    >>> round(ours.overall["bleu-1"], 3), round(ours.per_image["2"]["rouge-l"], 3)
    (0.696, 0.557)
    >>> theirs = evaluate({"1": "一只猫", "2": "一个男人"}, people)
    >>> [test] = compare({"ours": ours.by_metric, "theirs": theirs.by_metric}, protocol=ours.protocol)
    >>> test.tests["cider"].difference > 0
    True

A training loop makes a `Scorer` of the references once. Files are scored by `evaluate_files`, as the command
``python -m eval`` does. The names below are loaded on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eval.annotations import (
        AnnotationError,
        PredictedCaption,
        read_predictions,
        read_reference_file,
        read_references,
    )
    from eval.diversity import Diversity, measure_diversity
    from eval.evaluation import Evaluation, Settings, System, evaluate_files
    from eval.metrics import METRICS, Score, Scores
    from eval.protocols import PROTOCOLS, Protocol, find_protocol
    from eval.scorer import Scorer, evaluate
    from eval.significance import Comparison, Interval, PairedTest, compare, intervals
    from eval.tag_recall import TagRecall, measure_tag_recall

__all__ = [
    "METRICS",
    "PROTOCOLS",
    "AnnotationError",
    "Comparison",
    "Diversity",
    "Evaluation",
    "Interval",
    "PairedTest",
    "PredictedCaption",
    "Protocol",
    "Score",
    "Scorer",
    "Scores",
    "Settings",
    "System",
    "TagRecall",
    "compare",
    "evaluate",
    "evaluate_files",
    "find_protocol",
    "intervals",
    "measure_diversity",
    "measure_tag_recall",
    "read_predictions",
    "read_reference_file",
    "read_references",
]

_NAMES = {
    "eval.annotations": (
        "AnnotationError",
        "PredictedCaption",
        "read_predictions",
        "read_reference_file",
        "read_references",
    ),
    "eval.diversity": ("Diversity", "measure_diversity"),
    "eval.evaluation": ("Evaluation", "Settings", "System", "evaluate_files"),
    "eval.metrics": ("METRICS", "Score", "Scores"),
    "eval.protocols": ("PROTOCOLS", "Protocol", "find_protocol"),
    "eval.scorer": ("Scorer", "evaluate"),
    "eval.significance": ("Comparison", "Interval", "PairedTest", "compare", "intervals"),
    "eval.tag_recall": ("TagRecall", "measure_tag_recall"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'eval' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
