from __future__ import annotations

import io
import json
import math
import os
import pty
import re
from io import StringIO
from pathlib import Path

import pytest
import torch

from captioning.batch_contents import BatchContents, contents_of
from captioning.batches import Batch, CaptionBatch, Captions, PairBatch, PrefixBatch, SampleBatch
from captioning.config import Objective
from captioning.console import JsonLines, Terminal, clock
from captioning.progress import Progress
from captioning.recent import Recent
from captioning.train import train
from tests.captioning.small_run import small_config

CONTENTS = BatchContents(captions=10, pieces=100, filled=150, positions=200)


class Tty(StringIO):
    def isatty(self) -> bool:
        return True


def lengths(longest: int, *lengths: int) -> torch.Tensor:
    """A mask of rows of these lengths."""
    return torch.arange(longest) < torch.tensor(lengths)[:, None]


PREFIX = PrefixBatch(
    tag_ids=torch.zeros(2, 4, dtype=torch.long),
    tag_mask=lengths(4, 4, 1),
    region_features=torch.zeros(2, 3, 8),
    region_mask=lengths(3, 3, 2),
)


def test_pieces_and_padding_of_captions_are_counted() -> None:
    captions = Captions(
        pieces=torch.zeros(3, 5, dtype=torch.long),
        targets=torch.zeros(3, 5, dtype=torch.long),
        real=lengths(5, 5, 2, 4),
        picture=torch.tensor([0, 0, 1]),
    )
    batch = CaptionBatch(image_ids=("a", "b"), prefix=PREFIX, captions=captions, n_captions=3)
    # tags 5 of 8, regions 5 of 6, captions 11 of 15
    assert contents_of([{"caption": batch}]) == BatchContents(captions=3, pieces=16, filled=21, positions=29)


def test_regions_of_a_pair_are_counted_for_each_of_its_captions() -> None:
    batch = PairBatch(
        image_ids=("a", "b"),
        pieces=torch.zeros(3, 6, dtype=torch.long),
        segments=torch.zeros(3, 6, dtype=torch.long),
        targets=torch.zeros(3, 6, dtype=torch.long),
        real=lengths(6, 6, 6, 3),
        match=torch.zeros(3, dtype=torch.long),
        picture=torch.tensor([0, 0, 1]),
        region_features=torch.zeros(2, 3, 8),
        region_mask=lengths(3, 3, 2),
        n_captions=3,
    )
    assert contents_of([{"pretrain": batch}]) == BatchContents(
        captions=3, pieces=15, filled=15 + 8, positions=18 + 9
    )


def test_parts_of_a_step_add_up_and_captions_are_those_of_the_main_objective() -> None:
    batch = SampleBatch(image_ids=("a", "b"), prefix=PREFIX, seeds=(1, 2), n_captions=4)
    more = SampleBatch(image_ids=("a", "b"), prefix=PREFIX, seeds=(1, 2), n_captions=3)
    parts: list[dict[Objective, Batch]] = [{"caption": batch, "scst": more}] * 2
    assert contents_of(parts) == BatchContents(captions=8, pieces=20, filled=40, positions=56)


def test_captions_that_a_step_drew_itself_count_as_pieces() -> None:
    batch = SampleBatch(image_ids=("a", "b"), prefix=PREFIX, seeds=(1, 2), n_captions=4)
    assert contents_of([{"scst": batch}], 2.5) == BatchContents(
        captions=4, pieces=15, filled=20, positions=24
    )


def test_rates_of_several_processes_are_those_of_all() -> None:
    recent = Recent()
    recent.add(2.0, 0.5, CONTENTS, {"loss": 3.0})
    assert recent.means(3)["captions_per_second"] == 15.0
    assert recent.means(3)["pieces_per_second"] == 150.0
    assert recent.means(3)["data_wait"] == 0.25


def test_means_rates_and_shares_are_of_the_steps_since_the_last_line() -> None:
    recent = Recent()
    recent.add(2.0, 0.5, CONTENTS, {"loss": 3.0, "grad_norm": 1.0})
    recent.add(3.0, 1.0, CONTENTS, {"loss": 1.0, "grad_norm": math.inf})
    assert recent.means() == {
        "loss": 2.0,
        "grad_norm": 1.0,  # fp16's scaler meets infinite gradients; a mean of them would say nothing
        "captions_per_second": 4.0,
        "pieces_per_second": 40.0,
        "data_wait": 0.3,
        "padding": 0.25,
    }


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.6, "0:05"), (61, "1:01"), (3600, "1:00:00"), (90061, "1 d 1:01:01")]
)
def test_time_left_is_told_as_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def told(stream: StringIO, step: int = 7) -> str:
    recent = Recent()
    recent.add(2.0, 0.5, CONTENTS, {"loss": 2.5, "words": 2.25})
    values = {"epoch": 0.5, "learning_rate": 3e-5, **recent.means()}
    with Progress([Terminal(stream) if stream.isatty() else JsonLines(stream)]) as progress:
        progress.start(0, {})
        progress.live(step, 100, step / 100, 60.0, values)
        progress.step(step, 100, 60.0, values)
        progress.scores(step, {"cider": 0.5}, True, {"a\x1b[2J.jpg": "一只狗"})
    return stream.getvalue()


def test_programs_are_told_in_json_lines() -> None:
    events = [json.loads(line) for line in told(StringIO()).splitlines()]
    assert [event["event"] for event in events] == ["start", "step", "validation"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event["time"]) for event in events)
    step = {key: value for key, value in events[1].items() if key not in ("event", "time")}
    assert step == {
        "step": 7,
        "steps": 100,
        "eta_seconds": 60.0,
        "epoch": 0.5,
        "learning_rate": 3e-5,
        "loss": 2.5,
        "words": 2.25,
        "captions_per_second": 5.0,
        "pieces_per_second": 50.0,
        "data_wait": 0.25,
        "padding": 0.25,
    }
    assert events[2]["captions"] == {"a\x1b[2J.jpg": "一只狗"}


def test_numbers_that_json_does_not_know_are_null() -> None:
    stream = StringIO()
    JsonLines(stream).tell({"event": "fault", "values": {"loss": math.nan, "all": [math.inf, 1.0]}}, "")
    assert json.loads(stream.getvalue())["values"] == {"loss": None, "all": [None, 1.0]}


def test_people_read_a_line_a_step_that_cannot_command_their_terminal() -> None:
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", told(Tty()))
    wanted = (
        "step 7/100  epoch 0.50  loss 2.5  words 2.25  lr 3e-05  5 captions/s  50 pieces/s  "
        "waiting 25%  padding 25%  1:00 left"
    )
    assert wanted in " ".join(lines.split("\n")).replace("\r", "")
    assert "a\ufffd[2J.jpg: 一只狗" in lines
    assert "\x1b[2J" not in told(Tty())


def test_the_moving_line_is_replaced_not_repeated() -> None:
    """As a real terminal shows it: what stays is the lines, and none of the 200 moving ones."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        progress = Progress([Terminal(stream)])
        for step in range(200):
            progress.live(step, 200, step / 200, None, {"loss": 1.0})
        progress.say("done")
        progress.__exit__(None, None, None)
    with io.FileIO(master) as terminal:
        written = b""
        while True:
            try:
                part = terminal.read(65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            written += part
    assert written.count(b"\n") < 20
    assert b"done" in written


def events(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_run_tells_rates_padding_and_gradient_norms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_config(tmp_path)
    train(config)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == events(config.out)
    steps = [event for event in events(config.out) if event["event"] == "step"]
    assert [event["step"] for event in steps] == [2, 4, 6]
    names = {"loss", "accuracy", "grad_norm", "learning_rate", "captions_per_second", "pieces_per_second"}
    for event in steps:
        assert names <= event.keys()
        assert 0 < float(event["padding"]) < 1  # type: ignore[arg-type]
        assert 0 <= float(event["data_wait"]) <= 1  # type: ignore[arg-type]
