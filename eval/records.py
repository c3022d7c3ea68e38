"""Files and single records, checked: the ground on which `eval.annotations` reads its formats."""

import json
import math
import unicodedata
from pathlib import Path
from typing import Any


class AnnotationError(ValueError):
    """A caption or prediction file that cannot be used: where, what was found, what was wanted."""

    def __init__(
        self,
        path: Path,
        *,
        found: str,
        wanted: str,
        record: int | None = None,
        field: str | None = None,
        part: str = "record",
    ) -> None:
        """Keep the parts of the message as attributes.

        Args:
            path: The file.
            found: What stands there.
            wanted: What should stand there, and what to do where that is not plain.
            record: Number of the record, from 1; None when the whole file is meant.
            field: Key or column.
            part: What ``record`` counts: record, line, image, annotation.
        """
        self.path, self.record, self.field, self.found, self.wanted = path, record, field, found, wanted
        place = [str(path)]
        if record is not None:
            place.append(f"{part} {record}")
        if field is not None:
            place.append(f"field {field!r}")
        super().__init__(f"{', '.join(place)}: found {found}, wanted {wanted}")


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, its byte order mark removed."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise AnnotationError(path, found=reason, wanted="a readable file") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"bytes that are not UTF-8 at offset {error.start}"
        wanted = "UTF-8; if the file is GBK, convert it: iconv -f GB18030 -t UTF-8"
        raise AnnotationError(path, found=found, wanted=wanted) from error


def parse_json(path: Path, text: str, line: int | None = None) -> Any:
    """Strict JSON: a key given twice in an object, NaN and infinities are refused."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError:
        found, wanted = "JSON nested too deep", "flat records"
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if line else f"line {error.lineno} column {error.colno}"
        found, wanted = f"broken JSON ({error.msg}, {place})", "JSON"
    except ValueError as error:
        found, wanted = f"broken JSON ({error})", "JSON"
    raise AnnotationError(path, record=line, part="line", found=found, wanted=wanted)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {repeated!r} twice in one object")
    return result


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


class Record:
    """One record of a file; every question about a field is answered or raises `AnnotationError`."""

    def __init__(self, path: Path, number: int, values: Any, part: str = "record") -> None:
        """Take the ``number``-th ``part`` of a file, which must be an object."""
        self.path, self.position, self.part = path, number, part
        if not isinstance(values, dict):
            raise self.error(None, _describe(values), "an object with image_id and caption")
        self.values: dict[Any, Any] = values

    def error(self, field: str | None, found: str, wanted: str) -> AnnotationError:
        """The error for a field of this record, to be raised by the caller."""
        return AnnotationError(
            self.path, record=self.position, part=self.part, field=field, found=found, wanted=wanted
        )

    def identifier(self, field: str) -> str:
        """An image id as a string; JSON may hold it as a whole number or a name."""
        value = self.values.get(field)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        wanted = "a file name or a whole number"
        if not isinstance(value, str) or not value.strip():
            raise self.error(field, self._found(field), wanted)
        return self._encodable(field, value)

    def sentence(self, field: str) -> str:
        """A caption, NFC, never empty."""
        value = self.values.get(field)
        if not isinstance(value, str) or not value.strip():
            raise self.error(field, self._found(field), "a sentence")
        return unicodedata.normalize("NFC", self._encodable(field, value))

    def sentences(self, field: str) -> tuple[str, ...]:
        """A list of one or more strings, NFC."""
        value = self.values.get(field)
        if not isinstance(value, list) or not value:
            raise self.error(field, self._found(field), "a list of one or more strings")
        items = Record(
            self.path, self.position, {f"{field}[{i}]": item for i, item in enumerate(value)}, self.part
        )
        return tuple(items.sentence(key) for key in items.values)

    def number(self, field: str) -> float | None:
        """A finite number, or None where the field is absent or null."""
        value = self.values.get(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(field, _describe(value), "a finite number")
        return float(value)

    def number_in(self, field: str) -> float:
        """The number written in a text cell."""
        try:
            return float(self.values[field])
        except ValueError as error:
            raise self.error(field, repr(self.values[field]), "a finite number") from error

    def children(self, field: str) -> list["Record"]:
        """The objects of a list; none where the field is absent or null."""
        value = self.values.get(field)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.error(field, _describe(value), "a list of objects")
        return [Record(self.path, self.position, item, self.part) for item in value]

    def _found(self, field: str) -> str:
        return _describe(self.values[field]) if field in self.values else "no such field"

    def _encodable(self, field: str, value: str) -> str:
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise self.error(
                field, f"half a surrogate pair in {ascii(value[:40])}", "Unicode text"
            ) from error
        return value


def _describe(value: Any) -> str:
    """A value as an error message shows it: null, an empty string, or its JSON, shortened."""
    if value is None:
        return "null"
    if isinstance(value, str) and not value.strip():
        return "an empty string"
    if isinstance(value, list) and not value:
        return "an empty list"
    text = (
        ascii(value)
        if isinstance(value, str) and not value.isprintable()
        else json.dumps(value, ensure_ascii=False)
    )
    return text if len(text) <= 60 else text[:60] + "…"
