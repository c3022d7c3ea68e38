"""What the official AI Challenger tool answers to a submission: error 0 or error 1, here the exit code.

The five ways to be wrong are those of its own tests (github.com/AIChallenger/AI_Challenger_2017,
caption_eval/run_evaluations_test.py), built from our own samples.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.__main__ import main

SAMPLES = Path(__file__).parents[2] / "examples" / "images" / "captions.json"
REFERENCES = json.loads(SAMPLES.read_text(encoding="utf-8"))[:3]
NAMES = [record["image_id"] for record in REFERENCES]

Submission = list[dict[str, Any]]


def empty_caption_and_id(records: Submission) -> None:
    records[0]["caption"] = ""
    records[1]["image_id"] = ""


def wrong_keys(records: Submission) -> None:
    records[0]["captio"] = records[0].pop("caption")
    records[1]["image_i"] = records[1].pop("image_id")


def a_picture_missing(records: Submission) -> None:
    del records[0]


def a_picture_too_many(records: Submission) -> None:
    records.append({"image_id": "another.jpg", "caption": records[0]["caption"]})


def unknown_names(records: Submission) -> None:
    for record in records[:2]:
        record["image_id"] = "x" + record["image_id"]


@pytest.fixture
def answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[Submission], tuple[int, str]]:
    """The exit code and what stands on stderr, under the protocol aic-icc alone."""

    def answer(records: Submission) -> tuple[int, str]:
        submission, references = tmp_path / "submission.json", tmp_path / "references.json"
        submission.write_text(json.dumps(records), encoding="utf-8")
        references.write_text(json.dumps(REFERENCES), encoding="utf-8")
        arguments = [str(submission), str(references), "--protocols", "aic-icc", "--no_cache"]
        return main(arguments), capsys.readouterr().err

    return answer


def submitted() -> Submission:
    return [{"image_id": record["image_id"], "caption": record["caption"][0]} for record in REFERENCES]


def test_a_good_submission_is_error_0(answer: Callable[[Submission], tuple[int, str]]) -> None:
    assert answer(submitted()) == (0, "")


@pytest.mark.parametrize(
    ("spoil", "reasons"),
    [
        (
            empty_caption_and_id,
            ["record 1, field 'caption': found an empty", "record 2, field 'image_id': found an empty"],
        ),
        (
            wrong_keys,
            ["record 1, field 'caption': found no such", "record 2, field 'image_id': found no such"],
        ),
        (a_picture_missing, ["has no caption for 1 of the 3 pictures in ", f": '{NAMES[0]}'"]),
        (a_picture_too_many, ["has no reference for 1 of the 4 pictures in ", ": 'another.jpg'"]),
        (
            unknown_names,
            ["has no caption for 2 of the 3 pictures in ", f": '{NAMES[0]}', '{NAMES[1]}'"]
            + ["has no reference for 2 of the 3 pictures in ", f": 'x{NAMES[0]}', 'x{NAMES[1]}'"],
        ),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_malformed_submission_is_error_1_with_every_reason(
    spoil: Callable[[Submission], None],
    reasons: list[str],
    answer: Callable[[Submission], tuple[int, str]],
) -> None:
    records = submitted()
    spoil(records)
    code, told = answer(records)
    assert code == 1
    assert [reason for reason in reasons if reason not in told] == []
