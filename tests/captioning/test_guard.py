from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioning.guard import MOST_OVERFLOWS, Fault, Guard, TrainingError
from captioning.guard_config import GuardConfig
from captioning.run_folder import step_folder

NAN, INF = math.nan, math.inf
CONFIG = GuardConfig(window=20, spike_steps=3)


class Watched:
    """A guard, and what it told."""

    def __init__(self, out: Path, config: GuardConfig = CONFIG) -> None:
        self.told: list[Fault] = []
        self.guard = Guard(config, out, lambda fault, message: self.told.append(fault))
        self.step = 0

    def take(self, *losses: float, grad_norm: float = 1.0, scaled: bool = False) -> list[bool]:
        """Judges steps with these losses; whether each is left out."""
        skipped = []
        for loss in losses:
            self.step += 1
            ids = (f"{self.step}a.jpg", f"{self.step}b.jpg")
            skipped.append(
                self.guard.skips(
                    step=self.step,
                    loss=loss,
                    grad_norm=grad_norm,
                    image_ids=partial(tuple, ids),
                    scaled=scaled,
                )
            )
        return skipped


@pytest.mark.parametrize("loss", [NAN, INF, -INF])
def test_a_loss_that_is_no_number_stops_with_pictures_and_the_checkpoint_before(
    tmp_path: Path, loss: float
) -> None:
    for step in (2, 4, 6):
        step_folder(tmp_path, step).mkdir()
    watched = Watched(tmp_path)
    watched.take(*[1.0] * 5)
    with pytest.raises(TrainingError) as stopped:
        watched.take(loss)
    good = step_folder(tmp_path, 4)  # that of step 6 has the update of the bad step
    assert f"step 6: the loss is {loss} (pictures 6a.jpg, 6b.jpg)" in str(stopped.value)
    assert f"Last good checkpoint: {good}." in str(stopped.value)
    assert [(fault.kind, fault.action, fault.step, fault.since) for fault in watched.told] == [
        ("loss", "stop", 6, 6)
    ]


def test_a_gradient_that_is_no_number_stops_too(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="step 1: the gradient norm is inf .* none is left from before"):
        Watched(tmp_path).take(1.0, grad_norm=INF)


def test_infinite_gradients_are_the_scalers_business_until_no_scale_helps(tmp_path: Path) -> None:
    watched = Watched(tmp_path, replace(CONFIG, not_a_number="stop"))
    for _ in range(3):  # a finite step starts the count anew
        assert not any(watched.take(*[1.0] * (MOST_OVERFLOWS - 1), grad_norm=NAN, scaled=True))
        assert not any(watched.take(1.0, scaled=True))
    with pytest.raises(TrainingError, match=f"for {MOST_OVERFLOWS} steps and at any scale of fp16"):
        watched.take(*[1.0] * MOST_OVERFLOWS, grad_norm=INF, scaled=True)
    assert watched.told[0].since == watched.step - MOST_OVERFLOWS + 1


def test_a_loss_that_is_no_number_is_a_fault_with_fp16_too(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the loss is nan"):
        Watched(tmp_path).take(NAN, grad_norm=NAN, scaled=True)


def test_steps_are_left_out_where_that_is_asked_for_but_not_for_ever(tmp_path: Path) -> None:
    watched = Watched(tmp_path, replace(CONFIG, not_a_number="skip", max_skipped=2))
    assert watched.take(1.0, NAN, NAN, 1.0, NAN, INF) == [False, True, True, False, True, True]
    with pytest.raises(TrainingError, match="the loss is nan, 3 steps in a row"):
        watched.take(NAN)
    assert [fault.action for fault in watched.told] == ["skip"] * 4 + ["stop"]
    assert watched.told[-1].since == 5


def test_a_loss_that_jumps_and_stays_stops_with_the_pictures_since_and_the_checkpoint_before(
    tmp_path: Path,
) -> None:
    for step in (10, 30, 32):
        step_folder(tmp_path, step).mkdir()
    watched = Watched(tmp_path)
    watched.take(*[2.0, 2.2] * 15)
    with pytest.raises(TrainingError) as stopped:
        watched.take(9.0, 8.0, 8.5)
    message = str(stopped.value)
    # median 2.1, median absolute deviation 0.1: 10 * 0.14826 is more than half of 2.1
    assert "step 33: the loss has been above 3.583 for 3 steps and is 8.5" in message
    assert "the median of the steps before is 2.1 " in message
    assert "(pictures 31a.jpg, 31b.jpg, 32a.jpg, 32b.jpg, 33a.jpg, 33b.jpg)" in message
    assert f"Last good checkpoint: {step_folder(tmp_path, 30)}. Start from it (--init" in message
    assert watched.told[0].since == 31


def test_single_bad_batches_are_no_spike(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.take(*[2.0, 2.2] * 15)
    for _ in range(5):
        watched.take(50.0, 60.0, 2.1)
    assert watched.told == []


def test_harder_data_are_no_spike(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.take(*[2.0, 2.001] * 15, *[2.9] * 20)  # 600 standard deviations, but below half as much again
    assert watched.told == []


def test_nothing_is_a_spike_before_the_usual_level_is_known(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.take(*[1.0] * 4, *[100.0] * 20)
    assert watched.told == []


def test_a_warning_is_given_once_and_the_run_goes_on(tmp_path: Path) -> None:
    watched = Watched(tmp_path, replace(CONFIG, spike="warn"))
    watched.take(*[2.0, 2.2] * 15, *[9.0] * 40)
    assert [(fault.kind, fault.action, fault.step) for fault in watched.told] == [("spike", "warn", 33)]
    watched.take(*[2.0, 2.2] * 15, *[9.0] * 3)  # a second one
    assert len(watched.told) == 2


def test_a_guard_that_is_off_sees_no_spike_but_still_what_is_no_number(tmp_path: Path) -> None:
    watched = Watched(tmp_path, replace(CONFIG, spike="off"))
    watched.take(*[2.0] * 30, *[900.0] * 30)
    with pytest.raises(TrainingError):
        watched.take(NAN)


def test_another_stage_starts_with_another_usual_level(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.take(*[2.0] * 30, 9.0, 9.0)
    watched.guard.forget_level()
    watched.take(*[9.0] * 20)
    assert watched.told == []


@given(
    level=st.floats(0.01, 20),
    noise=st.lists(st.floats(-0.24, 0.24), min_size=30, max_size=120),
    fall=st.floats(0.9, 1.0),
)
def test_noise_of_a_quarter_around_a_falling_loss_is_never_a_fault(
    level: float, noise: list[float], fall: float
) -> None:
    watched = Watched(Path("nowhere"))
    watched.take(*(level * fall**step * (1 + each) for step, each in enumerate(noise)))
    assert watched.told == []


@given(
    losses=st.lists(
        st.one_of(st.floats(0.5, 3), st.floats(5, 1e4), st.sampled_from([NAN, INF])), max_size=80
    ),
    stop=st.integers(0, 80),
    config=st.builds(
        GuardConfig,
        not_a_number=st.sampled_from(["stop", "skip"]),
        max_skipped=st.integers(1, 3),
        spike=st.sampled_from(["stop", "warn", "off"]),
        window=st.just(8),
        spike_steps=st.integers(1, 2),
    ),
)
def test_a_guard_that_was_saved_and_loaded_judges_as_one_that_never_stopped(
    losses: list[float], stop: int, config: GuardConfig
) -> None:
    def judged(interrupted: bool) -> list[object]:
        watched = Watched(Path("nowhere"), config)
        found: list[object] = []
        for number, loss in enumerate(losses):
            if interrupted and number == stop:
                state = json.loads(json.dumps(watched.guard.state()))
                watched.guard = Guard(
                    config, Path("nowhere"), lambda fault, message: watched.told.append(fault)
                )
                watched.guard.load(state)
            try:
                found += watched.take(loss)
            except TrainingError:
                return [*found, "stopped", *((f.kind, f.step, f.since) for f in watched.told)]
        return [*found, *((f.kind, f.step, f.since) for f in watched.told)]

    assert judged(interrupted=True) == judged(interrupted=False)
