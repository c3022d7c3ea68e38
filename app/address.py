"""What the page shows, as the part of its address behind the question mark: a link shows the same.

    ?view=errors&flag=repeated&system=ours&tag=狗&score=0.5-&page=2

Whatever somebody types there becomes an `Address`: what is not understood counts as not said, nothing is an
error, and texts are only ever compared with what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import Any, Literal

from app.index import METRICS

VIEWS = ("gallery", "compare", "errors", "statistics", "try", "runs")
FLAGS = ("marked", "repeated", "unknown", "undetected", "alike")
"""Kinds of pictures to be looked at: marked by hand, and the faults that `app.index` knows of a caption."""
WORST_FIRST, LONGEST_FIRST = "worst", "longest"
FAULTS = (WORST_FIRST, *FLAGS[1:], LONGEST_FIRST)
SORTS = ("name", *METRICS, "length", "boxes", "difference", "alike")
Basis = Literal["attention", "importance"]
BASES: tuple[Basis, ...] = ("attention", "importance")
"""What a word is said to rest on: where it looked, or what it loses without a region."""
SIZES = (24, 60)
"""Pictures a page."""
COLUMNS = range(2, 9)
"""Pictures side by side on a wide screen."""
LONGEST = 2000
"""Characters of a text in an address."""

Range = tuple[float | None, float | None]
"""From, to; None: open on that side."""
ANY: Range = (None, None)


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which pictures, in which order."""

    q: str = ""
    """Text in captions, references or names."""
    regex: bool = False
    """Whether the text is a regular expression (RE2)."""
    tag: tuple[str, ...] = ()
    """Tags that a picture must have, all of them."""
    split: str = ""
    flag: str = ""
    """One of `FLAGS`."""
    metric: str = METRICS[0]
    """What `score` is of."""
    score: Range = ANY
    length: Range = ANY
    """Words."""
    differing: bool = False
    """Only pictures of which the compared systems say different things."""
    sort: str = SORTS[0]
    descending: bool = False

    @property
    def n_active(self) -> int:
        """Filters that leave out pictures."""
        return sum(
            getattr(self, each.name) != each.default
            for each in fields(self)
            if each.name not in ("regex", "metric", "sort", "descending")
        )


@dataclass(frozen=True, kw_only=True)
class Address:
    """All that a link holds."""

    view: str = VIEWS[0]
    picture: str = ""
    """Id of the picture that is looked at; in `compare`, of the one that is voted on."""
    system: str = ""
    """Whose captions; the first where it is not there."""
    against: tuple[str, ...] = ()
    """Systems compared."""
    fault: str = WORST_FIRST
    """Which kind of mistakes is looked at."""
    filters: Filters = field(default_factory=Filters)
    page: int = 1
    size: int = SIZES[0]
    columns: int = 5
    boxes: bool = True
    least: float = 0.2
    """Score that a shown box has at least; below the default a region gives no tag either."""
    only: tuple[str, ...] = ()
    """Tags whose boxes are shown; none: all."""
    word: int | None = None
    """Which word of the caption was clicked."""
    of: str = ""
    """Whose caption the word is of."""
    by: Basis = "attention"
    """In which sense the word rests on regions."""
    run: tuple[str, ...] = ()
    """Runs whose curves are shown; none: all."""
    lang: str = ""
    theme: str = ""

    def changed(self, **changes: Any) -> Address:
        """The same with other values of its own fields and of its filters; another list begins at page 1."""
        own = {name: value for name, value in changes.items() if name in _OWN}
        other = replace(self.filters, **{n: v for n, v in changes.items() if n not in own})
        if other != self.filters or own.keys() & _DECIDING:
            own = {"page": 1} | own
        return replace(self, filters=other, **own)

    @property
    def wanted(self) -> Filters:
        """The filters, and what the view itself asks for."""
        if self.view != "errors":
            return self.filters
        if self.fault == "worst":
            return replace(self.filters, sort="cider", descending=False)
        if self.fault == "longest":
            return replace(self.filters, sort="length", descending=True)
        alike = self.fault == "alike"
        return replace(self.filters, flag=self.fault, sort="alike" if alike else "cider", descending=alike)

    def query(self) -> dict[str, list[str]]:
        """What stands in the address: what differs from the defaults."""
        values = {name: getattr(self, name) for name in _OWN}
        values |= {each.name: getattr(self.filters, each.name) for each in fields(Filters)}
        return {name: _written(value) for name, value in values.items() if value != _DEFAULTS[name]}

    @classmethod
    def read(cls, query: Mapping[str, Sequence[str]]) -> Address:
        """What `query` wrote, or what anyone else did."""
        found: dict[str, Any] = {}
        for name, read in _READERS.items():
            texts = [text[:LONGEST] for text in query.get(name, ())]
            value = read(texts) if texts else None
            if value is not None:
                found[name] = value
        return cls().changed(**{"page": 1} | found)


def _written(value: Any) -> list[str]:
    if isinstance(value, bool):
        return ["1" if value else "0"]
    if isinstance(value, tuple) and (not value or isinstance(value[0], str)):
        return list(value)
    if isinstance(value, tuple):
        ends = ("" if end is None else f"{end:.4f}".rstrip("0").rstrip(".") for end in value)
        return ["-".join(ends)]
    return [str(value)]


_Reader = Callable[[Sequence[str]], Any]
"""Texts of one name, one or more -> value; None where they mean nothing."""


def _one_of(choices: Sequence[Any]) -> _Reader:
    by_name = {str(choice): choice for choice in choices}
    return lambda texts: by_name.get(texts[0])


def _text(texts: Sequence[str]) -> str:
    return texts[0]


def _texts(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, texts)))[:20]


def _flag(texts: Sequence[str]) -> bool | None:
    return {"1": True, "0": False}.get(texts[0])


def _whole(texts: Sequence[str]) -> int | None:
    text = texts[0]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _share(texts: Sequence[str]) -> float | None:
    number = _number(texts[0])
    return None if number is None else min(max(number, 0.0), 1.0)


def _range(texts: Sequence[str]) -> Range | None:
    low, dash, high = texts[0].partition("-")
    ends = _number(low), _number(high)
    return ends if dash and ends != ANY else None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return round(number, 4) if isfinite(number) and 0 <= number < 1e6 else None


_READERS: dict[str, _Reader] = {
    "view": _one_of(VIEWS),
    "picture": _text,
    "system": _text,
    "against": _texts,
    "fault": _one_of(FAULTS),
    "page": lambda texts: max(1, _whole(texts) or 1),
    "size": _one_of(SIZES),
    "columns": _one_of(COLUMNS),
    "boxes": _flag,
    "least": _share,
    "only": _texts,
    "word": _whole,
    "of": _text,
    "by": _one_of(BASES),
    "run": _texts,
    "lang": _one_of(("zh", "en")),
    "theme": _one_of(("light", "dark")),
    "q": _text,
    "regex": _flag,
    "tag": _texts,
    "split": _text,
    "flag": _one_of(FLAGS),
    "metric": _one_of(METRICS),
    "score": _range,
    "length": _range,
    "differing": _flag,
    "sort": _one_of(SORTS),
    "descending": _flag,
}
_DECIDING = frozenset(("view", "system", "against", "fault", "size"))
"""Fields of an address that decide what the first page is."""
_OWN = frozenset(each.name for each in fields(Address)) - {"filters"}
_DEFAULTS: dict[str, Any] = {name: getattr(Address(), name) for name in _OWN} | {
    each.name: each.default for each in fields(Filters)
}
