"""Self-critical training (arXiv:1612.00563): a captioner learns from captions that it draws itself.

As in the original Oscar, captions are drawn in training mode, dropout included, the greedy baseline is
written without dropout, and the loss weighs the mean log-probability of a sample's pieces. The original keeps
the graph of every drawing step. Here samples are drawn without gradients, against a prefix encoded once, and
then pass through the model all together, where dropout beyond the prefix is drawn anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captioning.batches import SampleBatch
from captioning.config import TrainConfig
from captioning.precision import side_processes
from captioning.reward_processes import RewardProcesses
from captioning.rewards import Rewards
from captioning.steps import Means, Part, Step
from captioning.tokenizer import CaptionTokenizer
from captioning.writing import unwritable_ids
from oscar.backbone import Prefix
from oscar.decoding import Hypothesis, generate
from oscar.modeling import OscarForCaptioning
from oscar.objectives import self_critical_loss
from oscar.sampling import sample
from oscar.scoring import score_captions

PARTS = {
    "self_critical": Part(unit="samples", weight=1.0),
    **{name: Part(unit="samples") for name in ("reward", "baseline", "repeated", "pieces", "cut")},
}


def self_critical_step(config: TrainConfig, tokenizer: CaptionTokenizer, rewards: Rewards) -> Step:
    """The step of the ``scst`` objective, with the rewards of the training pictures."""
    return Step(take=SelfCritical(config, tokenizer, rewards), parts=PARTS)  # type: ignore[arg-type]


class SelfCritical:
    """Draws captions and compares them with a baseline.

    Their rewards come from processes beside this one while it passes them through the model.
    """

    def __init__(self, config: TrainConfig, tokenizer: CaptionTokenizer, rewards: Rewards) -> None:
        """Takes the rewards of the training pictures."""
        self.config, self.tokenizer = config, tokenizer
        self.processes = RewardProcesses(rewards, side_processes(config.scst.reward_workers))
        self.never_ids = unwritable_ids(tokenizer)

    def __call__(self, model: OscarForCaptioning, batch: SampleBatch, step: int) -> Means:
        """Draws captions and compares them with the baseline; ``step`` decides nothing.

        Returns:
            ``self_critical``: the loss; means of ``reward`` and ``baseline``, of CIDEr-D, 0 to 10;
            ``repeated``: the share of samples that equal an earlier one of their picture; ``pieces``: their
            mean length; ``cut``: the share that the limit of pieces ended.
        """
        greedy = self._greedy(model, batch) if self.config.scst.baseline == "greedy" else None
        prefix = _encode(model, batch)
        drawn = sample(
            model,
            prefix,
            [torch.Generator().manual_seed(seed) for seed in batch.seeds],
            samples=self.config.scst.samples,
            temperature=self.config.scst.temperature,
            max_pieces=self.config.decode.max_pieces,
            min_pieces=0,
            forbidden_ids=self.never_ids,
        )
        # Mixed precision keeps the weights that it casts, and these were cast without gradients.
        torch.clear_autocast_cache()
        texts = [self._texts(hypotheses) for hypotheses in drawn]
        if greedy is not None:
            texts = [
                [*of_picture, *self._texts(best)] for of_picture, best in zip(texts, greedy, strict=True)
            ]
        scored = self.processes.begin(batch.image_ids, texts)
        log_probs = mean_log_probs(model, prefix, drawn, self.never_ids, self.config.scst.temperature)
        scores = torch.tensor(scored(), device=log_probs.device)
        rewards = scores[:, : log_probs.shape[1]]  # (B, S)
        baseline = None if greedy is None else scores[:, -1]  # (B,)
        return {
            "self_critical": self_critical_loss(log_probs, rewards, baseline),
            "reward": rewards.mean(),
            "baseline": rewards.mean() if baseline is None else baseline.mean(),
            **_shape_of(drawn, log_probs.device),
        }

    @torch.no_grad()
    def _greedy(self, model: OscarForCaptioning, batch: SampleBatch) -> list[list[Hypothesis]]:
        was_training = model.training
        model.eval()
        try:
            return generate(
                model,
                _encode(model, batch),
                beam_width=1,
                max_pieces=self.config.decode.max_pieces,
                forbidden_ids=self.never_ids,
            )
        finally:
            model.train(was_training)

    def _texts(self, hypotheses: Sequence[Hypothesis]) -> list[str]:
        return [self.tokenizer.decode(hypothesis.piece_ids) for hypothesis in hypotheses]


def mean_log_probs(
    model: OscarForCaptioning,
    prefix: Prefix,
    drawn: Sequence[Sequence[Hypothesis]],
    never_ids: Sequence[int],
    temperature: float,
) -> Tensor:
    """(B, S) mean log-probabilities of the draws of which samples consist, with gradients.

    The draw of [SEP] counts; a caption that the limit of pieces ended did not draw it.

    Args:
        model: in the mode in which the captions were drawn.
        prefix: of B pictures.
        drawn: S samples of each.
        never_ids: what was never drawn.
        temperature: at which they were drawn.
    """
    pieces = [[hypothesis.piece_ids for hypothesis in hypotheses] for hypotheses in drawn]
    scores = score_captions(model, prefix, pieces, never_ids, temperature)  # (B * S, T)
    lengths = torch.tensor(
        [len(each.piece_ids) + each.finished for hypotheses in drawn for each in hypotheses],
        device=scores.device,
    )
    counted = torch.arange(scores.shape[1], device=scores.device) < lengths[:, None]
    return (torch.where(counted, scores, 0).sum(dim=1) / lengths).unflatten(0, (len(drawn), -1))


def _encode(model: OscarForCaptioning, batch: SampleBatch) -> Prefix:
    prefix = batch.prefix
    return model.bert.encode_prefix(
        prefix.tag_ids, prefix.tag_mask, prefix.region_features, prefix.region_mask
    )


def _shape_of(drawn: Sequence[Sequence[Hypothesis]], device: torch.device) -> Means:
    """What the log tells of the samples besides their rewards."""
    every = [hypothesis for hypotheses in drawn for hypothesis in hypotheses]
    distinct = sum(len({hypothesis.piece_ids for hypothesis in hypotheses}) for hypotheses in drawn)
    shape = {
        "repeated": 1 - distinct / len(every),
        "pieces": sum(len(each.piece_ids) for each in every) / len(every),
        "cut": sum(not each.finished for each in every) / len(every),
    }
    return {name: torch.tensor(value, device=device) for name, value in shape.items()}
