"""Captions in, scores out; no torch.

``from eval import evaluate`` (never a bare ``import eval``, which would hide the builtin in that module).
The names below are loaded on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eval.metrics import Score, Scores
    from eval.protocols import PROTOCOLS, Protocol, find_protocol
    from eval.scorer import Scorer, evaluate

__all__ = [
    "PROTOCOLS",
    "Protocol",
    "Score",
    "Scorer",
    "Scores",
    "evaluate",
    "find_protocol",
]

_HOME = {
    "PROTOCOLS": "eval.protocols",
    "Protocol": "eval.protocols",
    "Score": "eval.metrics",
    "Scores": "eval.metrics",
    "Scorer": "eval.scorer",
    "evaluate": "eval.scorer",
    "find_protocol": "eval.protocols",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'eval' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
