"""Text, JSON and single records, checked: the ground on which the readers stand.

A record that is wrong is reported to `Problems` and reading goes on. What a wrong field is read as does not
matter (it is an empty string, None or an empty list), for in the end the file is refused.
"""

import codecs
import json
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eval.problems import ABSENT, AnnotationError, Problem, Problems, describe

MAX_CAPTION = 10_000
"""Longest caption, in characters; people write tens. NFC takes quadratic time over some texts: 0.1 s over one
of this length, 11 s over one ten times as long."""


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, or of a UTF-16 file that opens with its byte order mark; the mark is removed.

    GBK is refused, not recognised: nearly any bytes, all of Big5 among them, can be read as GBK, and then
    nonsense would be scored without a word.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise AnnotationError([Problem(path=path, found=reason, wanted="a readable file")]) from error
    encoding = encoding_of(data)
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data[: error.start].decode(encoding).count("\n") + 1
        found = f"bytes that are not {encoding.upper()} at offset {error.start}"
        wanted = "UTF-8; these bytes are damaged or of several encodings"
        if _is_gb18030(data):
            wanted = "UTF-8; if the file is GBK, convert it: iconv -f GB18030 -t UTF-8 OLD > NEW"
        problem = Problem(path=path, record=line, part="line", found=found, wanted=wanted)
        raise AnnotationError([problem]) from error


def encoding_of(data: bytes) -> str:
    """Of text that begins with these bytes."""
    return "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"


def _is_gb18030(data: bytes) -> bool:
    try:
        data.decode("gb18030")
    except UnicodeDecodeError:
        return False
    return True


def parse_json(path: Path, text: str, line: int | None = None) -> Any:
    """JSON; a key given twice in an object makes it a `RepeatedKeys`.

    Args:
        path: The file, for messages.
        text: All of it, or one line.
        line: Number of that line, from 1.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        found, wanted = "JSON nested too deep", "flat records"
    except json.JSONDecodeError as error:
        line = line or error.lineno
        found, wanted = f"broken JSON ({error.msg}, column {error.colno})", "JSON"
    except ValueError as error:
        found, wanted = f"broken JSON ({error})", "JSON"
    raise AnnotationError([Problem(path=path, record=line, part="line", found=found, wanted=wanted)])


class RepeatedKeys(dict[str, Any]):
    """A JSON object with keys that were given more than once; the last value counts."""

    keys_repeated: tuple[str, ...]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        values = RepeatedKeys(values)
        values.keys_repeated = tuple(key for key, count in counts.items() if count > 1)
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One record of a file; a field that is not as it should be is reported."""

    values: dict[Any, Any]
    problems: Problems
    position: int | None = None
    """From 1; None for the object that is the whole file."""
    part: str = "record"
    """What ``position`` counts."""
    prefix: str = ""
    """Where in the record these values stand: ``alternatives[0].``"""

    def report(self, field: str | None, found: str, wanted: str) -> None:
        """Note a problem of a field, or of the record."""
        field = None if field is None else self.prefix + field
        self.problems.add(found, wanted, record=self.position, part=self.part, field=field)

    def identifier(self, field: str) -> str:
        """An image id as a string; JSON may hold it as a whole number or a name."""
        value = self.values.get(field, ABSENT)
        if isinstance(value, str) and value.strip():
            return self._unicode(field, value)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        self.report(field, describe(value), "a file name or a whole number")
        return ""

    def sentence(self, field: str) -> str:
        """A caption, NFC, not empty."""
        return self._sentence(field, self.values.get(field, ABSENT))

    def sentences(self, field: str) -> tuple[str, ...]:
        """A list of one or more strings, NFC."""
        value = self.values.get(field, ABSENT)
        if not isinstance(value, list) or not value:
            self.report(field, describe(value), "a list of one or more strings")
            return ()
        return tuple(self._sentence(f"{field}[{place}]", item) for place, item in enumerate(value))

    def number(self, field: str) -> float | None:
        """A finite number, or None where the field is absent or null."""
        value = self.values.get(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.report(field, describe(value), "a finite number")
            return None
        return float(value)

    def number_in_cell(self, field: str) -> float | None:
        """The number written in a text cell, finite or not; None where the cell is absent or empty."""
        text = self.values.get(field)
        if not text:
            return None
        try:
            return float(text)
        except ValueError:
            self.report(field, describe(text), "a finite number")
            return None

    def objects(self, field: str) -> Iterator["Record"]:
        """The objects of a list of one or more."""
        value = self.values.get(field, ABSENT)
        if not isinstance(value, list) or not value:
            self.report(field, describe(value), "a list of one or more objects")
            return
        for place, item in enumerate(value):
            if isinstance(item, dict):
                yield replace(self, values=item, prefix=f"{self.prefix}{field}[{place}].")
            else:
                self.report(f"{field}[{place}]", describe(item), "an object")

    def _sentence(self, field: str, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            self.report(field, describe(value), "a sentence")
            return ""
        if len(value) > MAX_CAPTION:
            self.report(field, f"{len(value):,} characters", f"a sentence of {MAX_CAPTION:,} at most")
            return ""
        return unicodedata.normalize("NFC", self._unicode(field, value))

    def _unicode(self, field: str, value: str) -> str:
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            self.report(field, f"half a surrogate pair in {ascii(value[:40])}", "Unicode text")
        return value


def record_of(
    value: dict[str, Any], problems: Problems, position: int | None = None, part: str = "record"
) -> Record:
    """An object as a record; keys that it has more than once are reported."""
    record = Record(values=value, problems=problems, position=position, part=part)
    for key in value.keys_repeated if isinstance(value, RepeatedKeys) else ():
        record.report(key, "the key more than once", "it once")
    return record


def records_of(
    values: Iterable[tuple[int, Any]], problems: Problems, part: str = "record"
) -> Iterator[Record]:
    """Numbered values that are objects as records; the others are reported and left out."""
    for position, value in values:
        if isinstance(value, dict):
            yield record_of(value, problems, position, part)
        else:
            problems.add(describe(value), "an object with named fields", record=position, part=part)
