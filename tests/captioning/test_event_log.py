from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from captioning.event_log import cut_log, write_errors_told_once

NOTE = {"event": "note", "message": "两行\u2028一行"}


def step(number: int) -> dict[str, object]:
    return {"event": "step", "step": number}


def validation(number: int) -> dict[str, object]:
    return {"event": "validation", "step": number}


def write(path: Path, *events: dict[str, object], rest: str = "") -> bytes:
    lines = [json.dumps(event, ensure_ascii=False) + "\n" for event in events]
    path.write_text("".join(lines) + rest, encoding="utf-8")
    return path.read_bytes()


def read(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_lost_steps_are_taken_back_and_notes_stay(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    write(log, step(1), validation(1), NOTE, step(2), validation(2), step(3), NOTE)
    cut_log(log, step=2, validated_step=2)
    assert read(log) == [step(1), validation(1), NOTE, step(2), validation(2), NOTE]
    cut_log(log, step=0, validated_step=0)
    assert read(log) == [NOTE, NOTE]


def test_a_validation_that_the_checkpoint_does_not_know_of_is_taken_back(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    write(log, validation(1), step(2), validation(2))
    cut_log(log, step=2, validated_step=1)
    assert read(log) == [validation(1), step(2)]


def test_a_line_that_was_not_finished_goes(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    for rest in ('{"event": "step", "st', '{"event": "step", "step": 1}', '{"event": "st\n', "\0\0\0", "3\n"):
        write(log, step(1), rest=rest)
        cut_log(log, step=1, validated_step=0)
        assert read(log) == [step(1)]


def test_a_log_that_is_as_it_should_be_is_not_written_anew(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    before = write(log, step(1), NOTE, step(2))
    stamp = log.stat().st_ino
    cut_log(log, step=2, validated_step=0)
    assert log.read_bytes() == before
    assert log.stat().st_ino == stamp
    cut_log(tmp_path / "none.jsonl", step=2, validated_step=0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_fails_to_write_prints_nothing_and_others_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda failure: told.append(failure.exc_type))

    def fail(error: Exception) -> None:
        raise error

    with write_errors_told_once():
        for error in (OSError("full"), ValueError("another")):
            thread = threading.Thread(target=fail, args=(error,))
            thread.start()
            thread.join()
    assert told == [ValueError]
