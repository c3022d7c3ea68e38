"""Pairs of texts as JSON lines: the form for people's own corpora; every other one can be converted into it.

A line is a caption of a picture, with tags of its own or without, or a question with its answer::

    {"image_id": "a.jpg", "caption": "一只狗在草地上奔跑", "tags": ["狗", "草地"]}
    {"image_id": "a.jpg", "question": "狗在做什么？", "answer": "奔跑"}

A caption without tags, with null or with an empty list of them, goes with the tags of the picture's regions.
A line of captions may hold a list of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from captioning.caption_record import CaptionRecord, Gathered, SecondText
from eval.lines import json_lines
from eval.problems import Problems
from eval.records import Record


def read_pairs(text: str, problems: Problems) -> Gathered:
    """The pairs of a file; what is wrong is noted, in every line."""
    gathered = Gathered()
    known: dict[SecondText, SecondText] = {}  # millions of answers are "是" and "不是"
    for record in json_lines(text, problems):
        image_id = record.identifier("image_id")
        for caption, second in _pairs_of(record):
            gathered.add(image_id, caption, known.setdefault(second, second) if second else None)
    if not gathered and not problems.found:
        problems.add("no record", "one or more captions or questions")
    return gathered


def _pairs_of(record: Record) -> Iterator[tuple[str, SecondText | None]]:
    if "question" in record.values:
        if "caption" in record.values:
            record.report("question", "one beside a caption", "a line for each of them")
        question, answer = record.sentence("question"), record.sentence("answer")
        yield question, SecondText(text=answer.strip(), is_answer=True)
        return
    several = isinstance(record.values.get("caption"), list)
    captions = record.sentences("caption") if several else (record.sentence("caption"),)
    has_tags = record.values.get("tags") not in (None, [])
    tags = tag_text(record.sentences("tags")) if has_tags else None
    for caption in captions:
        yield caption, tags


def tag_text(tags: Iterable[str]) -> SecondText:
    """Object tags as a second text."""
    return SecondText(text=" ".join(" ".join(tags).split()), is_answer=False)


def pair_lines(records: Iterable[CaptionRecord]) -> Iterator[str]:
    """A line a text, with its end; `read_pairs` gives the records back."""
    for record in records:
        for caption, second in record.texts():
            values: dict[str, Any] = {"image_id": record.image_id}
            if second is not None and second.is_answer:
                values |= {"question": caption, "answer": second.text}
            else:
                values["caption"] = caption
                if second is not None:
                    values["tags"] = second.text.split(" ")
            yield json.dumps(values, ensure_ascii=False) + "\n"
