"""Words that captions must hold, as people write them, for the search of `oscar.constrained`.

A constraint is a word, or a list of words of which any one will do: ``["狗", ["飞盘", "盘子"]]`` asks for a
dog and for a frisbee or a plate.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from captioning.tokenizer import CaptionTokenizer
from oscar.machines import StateMachine, word_machine

Constraint = str | Sequence[str]
"""A word, or words of which any one will do."""

Constraints = Sequence[Constraint] | Mapping[str, Sequence[Constraint]]
"""Those of every picture, or those of each image id; a picture not named has none."""


def machine_of(
    image_id: str, constraints: Constraints, tokenizer: CaptionTokenizer, max_pieces: int
) -> StateMachine | None:
    """The machine of one picture's constraints; None where it has none.

    Raises:
        ValueError: As `build_machine`, with the image id.
    """
    own = constraints.get(image_id, ()) if isinstance(constraints, Mapping) else constraints
    try:
        return build_machine(own, tokenizer, max_pieces) if own else None
    except ValueError as error:
        raise ValueError(f"{image_id or 'picture'}: {error}") from None


def build_machine(
    constraints: Sequence[Constraint], tokenizer: CaptionTokenizer, max_pieces: int
) -> StateMachine:
    """The machine that knows when a caption holds these words.

    Raises:
        ValueError: A word that the vocabulary cannot write, an empty one, or more than a caption of
            `max_pieces`, or the search, has room for.
    """
    if isinstance(constraints, str):
        raise ValueError(f"constraints must be a list of words, got {constraints!r}; write [{constraints!r}]")
    words = [[each] if isinstance(each, str) else list(each) for each in constraints]
    forms = [[_encode(word, tokenizer) for word in alternatives] for alternatives in words]
    machine = word_machine(forms)
    wanted = sum(min(len(form) for form in alternatives) for alternatives in forms)
    if wanted > max_pieces:
        raise ValueError(
            f"{constraints} take {wanted} pieces, captions have at most {max_pieces} (max_pieces); "
            "ask for fewer or shorter words"
        )
    return machine


def read_constraints(
    path: Path, image_ids: Collection[str], tokenizer: CaptionTokenizer, max_pieces: int
) -> dict[str, list[Constraint]]:
    """The constraints of a JSON file, all of them checked.

    Args:
        path: UTF-8 JSON, such as ``{"a.jpg": ["狗", ["飞盘", "盘子"]], "b.jpg": ["猫"]}``.
        image_ids: The pictures there are.
        tokenizer: Must be able to write every word.
        max_pieces: Longest caption.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such JSON, names a picture that there is not, or asks for what no caption can
            hold; with path and image id.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not UTF-8, or not JSON
        raise ValueError(f"{path}: no UTF-8 JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(
            f'{path}: wanted an object {{"image id": ["word", ...], ...}}, found {type(found).__name__}'
        )
    known = frozenset(image_ids)
    for image_id, constraints in found.items():
        if image_id not in known:
            raise ValueError(
                f"{path}: {image_id!r} is none of the {len(known)} pictures; image ids are paths below the "
                "folder of pictures, with suffix"
            )
        try:
            _check_shape(constraints)
            build_machine(constraints, tokenizer, max_pieces)
        except ValueError as error:
            raise ValueError(f"{path}: {image_id!r}: {error}") from None
    return found


def _encode(word: str, tokenizer: CaptionTokenizer) -> tuple[int, ...]:
    pieces = tuple(tokenizer.encode(word))
    if not pieces:
        raise ValueError(f"{word!r} holds nothing that can be written")
    if tokenizer.unk_id in pieces:
        raise ValueError(f"{word!r} cannot be written: the model's vocabulary lacks a piece of it")
    return pieces


def _check_shape(constraints: Any) -> None:
    """Raise ValueError for JSON that is no list of words and lists of words."""
    if not isinstance(constraints, list):
        raise ValueError(f"wanted a list of words, found {constraints!r}")
    for each in constraints:
        alternatives = each if isinstance(each, list) else [each]
        if not alternatives or not all(isinstance(word, str) for word in alternatives):
            raise ValueError(f"wanted a word, or a list of words of which any one will do, found {each!r}")
