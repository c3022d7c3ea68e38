"""What ``captioning.validate`` finds: files, their problems and counts, and pictures that one side lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from captioning.caption_counts import CaptionCounts
from captioning.joins import first_ten
from captioning.records import CaptionFile
from eval.problems import Problem
from eval.shown import counted


@dataclass(frozen=True, kw_only=True)
class FileFindings:
    """One file."""

    name: str
    """As it was given, with the parts that are wanted."""
    problems: Sequence[Problem]
    """All of them; the file is refused where there is one."""
    file: CaptionFile | None
    """None where it is refused."""
    counts: CaptionCounts | None

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.file is None or self.counts is None:
            yield f"{self.name}: {counted(len(self.problems), 'problem')}"
            yield from (f"  {problem}" for problem in self.problems)
            return
        counts = self.counts
        yield (
            f"{self.name} ({self.file.format}): {counted(counts.pictures, 'picture')}, "
            f"{counted(counts.captions, 'caption')}{_kinds(counts)}"
        )
        yield from (f"  {note}" for note in self.file.notes)
        yield f"  captions a picture: {counts.captions_a_picture}"
        yield f"  characters: {counts.characters}"
        yield f"  pieces: {counts.pieces}"
        if counts.repeated:
            total = sum(counts.repeated.values())
            yield f"  {total} repeat a caption of the same picture: {first_ten(list(counts.repeated))}"
        if counts.too_long:
            total = sum(counts.too_long.values())
            yield f"  {total} are too long and will be cut: {first_ten(list(counts.too_long))}"
        if counts.unknown or counts.with_unknown:
            characters = first_ten([f"{character} ({n})" for character, n in counts.unknown.items()])
            yield (
                f"  {counts.with_unknown} hold what the vocabulary lacks, "
                f"{counted(len(counts.unknown), 'character')}: {characters}"
            )

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "file": self.name,
            "format": self.file.format if self.file else None,
            "problems": [{**asdict(problem), "path": str(problem.path)} for problem in self.problems],
            "notes": list(self.file.notes) if self.file else [],
            "counts": asdict(self.counts) if self.counts else None,
        }


def _kinds(counts: CaptionCounts) -> str:
    kinds = [
        f"{number} of them {what}"
        for number, what in (
            (counts.questions, "questions with an answer"),
            (counts.tagged, "with tags of their own"),
        )
        if number
    ]
    return f" ({', '.join(kinds)})" if kinds else ""


@dataclass(frozen=True, kw_only=True)
class Lack:
    """Pictures of one side that the other lacks."""

    what: str
    """regions, pictures or captions."""
    where: str
    """Whose pictures lack it: a caption file, a regions file, a folder."""
    image_ids: Sequence[str]
    is_problem: bool
    """Whether training or captioning will miss them; pictures that nobody captioned harm nobody."""
    reasons: dict[str, str]
    """Of those for which one is known: why their regions could not be extracted."""

    def line(self) -> str:
        """For people."""
        names = [f"{i} ({self.reasons[i]})" if i in self.reasons else i for i in self.image_ids]
        what = {
            "regions": "captioned pictures have no regions",
            "pictures": "captioned pictures are not in the folder",
            "captions": "pictures have no captions",
        }[self.what]
        return f"{self.where}: {len(names)} {what}: {first_ten(names)}"


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All of one run of the command."""

    files: Sequence[FileFindings]
    lacks: Sequence[Lack]
    unclear: Sequence[str]
    """Ids that fit several pictures, or several that fit one, in sentences."""
    shared: dict[str, list[str]]
    """Picture -> the files that have it, where they are several."""

    @property
    def is_good(self) -> bool:
        """Whether nothing has to be put right."""
        has_problems = any(file.problems for file in self.files) or any(
            lack.is_problem for lack in self.lacks
        )
        return not has_problems and not self.unclear

    def lines(self) -> Iterator[str]:
        """For people."""
        for file in self.files:
            yield from file.lines()
        yield from self.unclear
        yield from (lack.line() for lack in self.lacks)
        if self.shared:
            yield (
                f"{len(self.shared)} pictures are in several files (a leak, where one is for validation): "
                f"{first_ten(list(self.shared))}"
            )
        yield "nothing has to be put right" if self.is_good else "there are problems, see above"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "schema": 1,
            "good": self.is_good,
            "files": [file.as_json() for file in self.files],
            "lacks": [asdict(lack) for lack in self.lacks],
            "unclear": list(self.unclear),
            "shared": self.shared,
        }
