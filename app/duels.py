"""Systems against each other: who says it better, by score and by votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.choice import differing
from app.index import METRICS, Ints, System
from app.notes import TIE, Votes
from eval.significance import WIN


@dataclass(frozen=True, kw_only=True)
class Duel:
    """One system against another."""

    first: str
    second: str
    wins: int
    """Of the first."""
    ties: int
    losses: int

    @property
    def total(self) -> int:
        """Pictures that were compared."""
        return self.wins + self.ties + self.losses


def by_score(first: System, second: System, rows: Ints) -> Duel:
    """Whose CIDEr is higher by `WIN` or more, over those of the rows that both have one for."""
    lead = (first.numbers(METRICS[0]) - second.numbers(METRICS[0]))[rows]
    lead = lead[~np.isnan(lead)]
    wins, losses = int((lead >= WIN).sum()), int((lead <= -WIN).sum())
    return Duel(
        first=first.name, second=second.name, wins=wins, losses=losses, ties=len(lead) - wins - losses
    )


def n_differing(systems: Sequence[System], rows: Ints) -> int:
    """Of how many of the rows they say different things."""
    return int(differing(systems)[rows].sum())


def vote_counts(systems: Sequence[str], votes: Votes) -> Mapping[str, int]:
    """System, or `TIE` -> votes where exactly these systems were compared."""
    counts = dict.fromkeys((*systems, TIE), 0)
    for (_, compared), best in votes.items():
        if set(compared) == set(systems) and best in counts:
            counts[best] += 1
    return counts


def vote_of(image_id: str, systems: Sequence[str], votes: Votes) -> str | None:
    """The best of the systems on one picture, in the eyes of who voted last."""
    found = [
        best for (name, compared), best in votes.items() if name == image_id and set(compared) == set(systems)
    ]
    return found[-1] if found else None
