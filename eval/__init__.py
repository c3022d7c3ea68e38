"""Captions in, scores out; no torch.

``from eval import evaluate`` (never a bare ``import eval``, which would hide the builtin in that module).
The names below are loaded on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eval.metrics import Score, Scores, bleu, cider, evaluate, rouge
    from eval.protocols import PROTOCOLS, Protocol, find_protocol

__all__ = [
    "PROTOCOLS",
    "Protocol",
    "Score",
    "Scores",
    "bleu",
    "cider",
    "evaluate",
    "find_protocol",
    "rouge",
]

_HOME = {
    "PROTOCOLS": "eval.protocols",
    "Protocol": "eval.protocols",
    "Score": "eval.metrics",
    "Scores": "eval.metrics",
    "bleu": "eval.metrics",
    "cider": "eval.metrics",
    "evaluate": "eval.metrics",
    "find_protocol": "eval.protocols",
    "rouge": "eval.metrics",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'eval' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
