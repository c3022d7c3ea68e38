"""Losses worked by hand."""

import math

import pytest
import torch
from torch.nn import functional

from oscar.objectives import (
    contrast_loss,
    dense_masked_tokens,
    drop_worst_share,
    masked_token_loss,
    masked_tokens,
    self_critical_loss,
)

# Two pieces of a vocabulary of four: the gold ones have probability 1/2 and 1/8.
PROBABILITIES = torch.tensor([[1 / 2, 1 / 4, 1 / 8, 1 / 8], [1 / 2, 1 / 4, 1 / 8, 1 / 8]])
LOGITS = PROBABILITIES.log() + 3.0
TARGETS = torch.tensor([0, 2])


def test_a_masked_caption_is_read_backwards_from_every_piece() -> None:
    stream = masked_tokens(torch.tensor([[2, 4, 6], [2, 7, 4]]))
    assert stream.input_ids.tolist() == [[2, 4, 6], [2, 7, 4]]
    assert stream.position_ids.tolist() == [[0, 1, 2]]
    assert stream.self_mask.int().tolist() == [[[1, 0, 0], [1, 1, 0], [1, 1, 1]]]


def test_dense_queries_stand_one_later_than_their_piece_and_read_up_to_it() -> None:
    stream = dense_masked_tokens(torch.tensor([[2, 5], [2, 7]]), mask_id=4)
    assert stream.input_ids.tolist() == [[2, 5, 4, 4], [2, 7, 4, 4]]
    assert stream.position_ids.tolist() == [[0, 1, 1, 2]]
    reads = [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 1]]
    assert stream.self_mask.int().tolist() == [reads]


def test_without_smoothing_the_loss_is_the_mean_negative_log_likelihood() -> None:
    # (1 + 3) bits / 2
    assert masked_token_loss(LOGITS, TARGETS).item() == pytest.approx(2 * math.log(2))


def test_smoothing_is_the_divergence_from_nine_tenths_on_the_gold_piece() -> None:
    # Gold 0.9, each of the three others 0.1 / 3. In bits, cross entropies 0.9 * 1 + 0.1 / 3 * (2 + 3 + 3) and
    # 0.9 * 3 + 0.1 / 3 * (1 + 2 + 3), less the entropy of the target.
    cross = (0.9 + 0.8 / 3 + 2.7 + 0.2) / 2 * math.log(2)
    entropy = -0.9 * math.log(0.9) - 0.1 * math.log(0.1 / 3)
    loss = masked_token_loss(LOGITS, TARGETS, label_smoothing=0.1)
    assert loss.item() == pytest.approx(cross - entropy, rel=1e-6)
    target = torch.full((2, 4), 0.1 / 3).scatter(1, TARGETS[:, None], 0.9)
    theirs = functional.kl_div(LOGITS.log_softmax(1), target, reduction="none").sum(1).mean()
    assert loss.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_a_perfect_smoothed_prediction_costs_nothing() -> None:
    logits = torch.tensor([[0.9, 0.05, 0.05]]).log()
    loss = masked_token_loss(logits, torch.tensor([0]), label_smoothing=0.1)
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_the_worst_pieces_are_dropped_and_get_no_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = masked_token_loss(logits, TARGETS, drop_worst=0.5)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert logits.grad is not None
    assert torch.allclose(logits.grad[0], torch.tensor([-1 / 2, 1 / 4, 1 / 8, 1 / 8]))
    assert not logits.grad[1].any()


def test_the_number_kept_is_rounded_down_but_never_to_none() -> None:
    logits, targets = LOGITS[[0, 0, 0, 1, 1]], TARGETS[[0, 0, 0, 1, 1]]
    # int(5 * 0.7) = 3 of 1, 1, 1, 3, 3 bits
    assert masked_token_loss(logits, targets, drop_worst=0.3).item() == pytest.approx(math.log(2))
    assert masked_token_loss(LOGITS[:1], TARGETS[:1], drop_worst=0.9).item() == pytest.approx(math.log(2))


def test_the_worst_pieces_are_kept_for_as_many_steps_as_set() -> None:
    assert [drop_worst_share(0.2, after=2, step=step) for step in range(4)] == [0, 0, 0.2, 0.2]
    assert drop_worst_share(0.2, after=0, step=0) == 0.2


def test_losses_refuse_what_has_no_meaning() -> None:
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\), got 1.0"):
        masked_token_loss(LOGITS, TARGETS, label_smoothing=1.0)
    with pytest.raises(ValueError, match=r"drop_worst must be in \[0, 1\), got -0.1"):
        masked_token_loss(LOGITS, TARGETS, drop_worst=-0.1)
    with pytest.raises(ValueError, match="no masked piece"):
        masked_token_loss(LOGITS[:0], TARGETS[:0])


def test_contrast_is_the_mean_cross_entropy_of_two_or_three_classes() -> None:
    three = torch.tensor([[1 / 2, 1 / 4, 1 / 4], [1 / 2, 1 / 4, 1 / 4]]).log()
    assert contrast_loss(three, torch.tensor([0, 2])).item() == pytest.approx(1.5 * math.log(2))
    two = torch.tensor([[0.0, 0.0]])
    assert contrast_loss(two, torch.tensor([1])).item() == pytest.approx(math.log(2))


# Two pictures, three samples of each.
SAMPLED = torch.tensor([[-1.0, -2.0, -3.0], [-0.5, -0.5, -1.0]])
REWARDS = torch.tensor([[0.6, 0.9, 0.0], [1.0, 1.0, 1.0]])


def test_samples_above_the_greedy_caption_are_made_likelier_and_those_below_less() -> None:
    log_probs = SAMPLED.clone().requires_grad_()
    loss = self_critical_loss(log_probs, REWARDS, baseline=torch.tensor([0.5, 1.0]))
    loss.backward()
    # advantages 0.1, 0.4, -0.5 and 0, 0, 0: -(-0.1 - 0.8 + 1.5) / 6
    assert loss.item() == pytest.approx(-0.1)
    assert log_probs.grad is not None
    wanted = torch.tensor([[-0.1, -0.4, 0.5], [0, 0, 0]]) / 6
    torch.testing.assert_close(log_probs.grad, wanted)


def test_without_a_greedy_caption_a_sample_is_compared_with_the_mean_of_the_others() -> None:
    # the others' means 0.45, 0.3, 0.75: advantages 0.15, 0.6, -0.75; -(-0.15 - 1.2 + 2.25) / 6
    assert self_critical_loss(SAMPLED, REWARDS).item() == pytest.approx(-0.15)


def test_no_gradient_reaches_the_rewards() -> None:
    rewards, log_probs = REWARDS.clone().requires_grad_(), SAMPLED.clone().requires_grad_()
    self_critical_loss(log_probs, rewards).backward()
    assert rewards.grad is None


def test_rewards_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match=r"log_probs \(2, 3\) and rewards \(2, 2\) must both be"):
        self_critical_loss(SAMPLED, REWARDS[:, :2])
    with pytest.raises(ValueError, match="needs 2 samples a picture or more, got 1"):
        self_critical_loss(SAMPLED[:, :1], REWARDS[:, :1])
    with pytest.raises(ValueError, match=r"baseline \(3,\) must hold one reward for each of 2 pictures"):
        self_critical_loss(SAMPLED, REWARDS, baseline=torch.zeros(3))
