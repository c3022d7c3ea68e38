"""Self-critical training: one step by hand, and what a run of steps does."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import cast

import pytest
import torch
from torch import Tensor

from captioning.batches import SampleBatch
from captioning.checkpoints import read_captioner, read_info
from captioning.config import TrainConfig, ValidationConfig
from captioning.runs import Run, prepare
from captioning.scst import SelfCritical, mean_log_probs
from captioning.scst_config import Baseline, ScstConfig
from captioning.steps import Learning
from captioning.train import train
from captioning.validation import validate
from captioning.writing import unwritable_ids
from eval.cider import CiderD
from oscar.backbone import Prefix
from oscar.decoding import Hypothesis, generate
from oscar.modeling import OscarForCaptioning
from oscar.objectives import dense_masked_tokens
from oscar.sampling import sample
from tests.captioning.small_run import CAPTIONS, alone, small_config, turns, write_captions


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A captioner that has learned a little, in a folder with its data."""
    config = small_config(tmp_path_factory.mktemp("scst"), steps=40, validation=False, learning_rate=1e-2)
    train(config)
    return config


def self_critical(captioner: TrainConfig, out: str, **changes: object) -> TrainConfig:
    values = {"objective": "scst", "init": str(captioner.out / "last"), "out": captioner.out.with_name(out)}
    return replace(captioner, **(values | changes))  # type: ignore[arg-type]


def encode(model: OscarForCaptioning, batch: SampleBatch) -> Prefix:
    prefix = batch.prefix
    return model.bert.encode_prefix(
        prefix.tag_ids, prefix.tag_mask, prefix.region_features, prefix.region_mask
    )


def step_by_hand(run: Run, batch: SampleBatch, scst: ScstConfig) -> tuple[Tensor, float]:
    """The loss and the mean reward, a sample at a time."""
    temperature, limits = scst.temperature, {"max_pieces": 38, "min_pieces": 0}
    model, tokenizer = cast(OscarForCaptioning, run.model), run.tokenizer
    never = unwritable_ids(tokenizer)
    prefix = encode(model, batch)
    generators = [torch.Generator().manual_seed(seed) for seed in batch.seeds]
    drawn = sample(
        model, prefix, generators, samples=3, temperature=temperature, forbidden_ids=never, **limits
    )
    greedy = generate(model, prefix, beam_width=1, forbidden_ids=never)
    pictures = [[[*text, "<eos>"] for text in record.captions] for record in run.training.records]
    pictures = [[[c for c in tokens if c != "。"] for tokens in references] for references in pictures]
    scorer = CiderD(pictures)
    names = [record.image_id for record in run.training.records]

    def reward(row: int, hypothesis: Hypothesis) -> float:
        text = tokenizer.decode(hypothesis.piece_ids).replace("。", "").replace(" ", "")
        return scorer.score([[*text, "<eos>"]], [names.index(batch.image_ids[row])])[0]

    terms, rewards = [], []
    for row, samples in enumerate(drawn):
        ours = [reward(row, each) for each in samples]
        for i, each in enumerate(samples):
            others = [r for j, r in enumerate(ours) if j != i]
            against = reward(row, greedy[row][0]) if scst.baseline == "greedy" else sum(others) / len(others)
            written = [tokenizer.cls_id, *each.piece_ids]
            wanted = torch.tensor([*each.piece_ids, tokenizer.sep_id])
            stream = dense_masked_tokens(torch.tensor([written]), tokenizer.mask_id)
            hidden = model.bert.read_prefix(
                prefix.select(torch.tensor([row])),
                stream.input_ids,
                stream.position_ids,
                stream.self_mask,
                last=len(written),
            )
            allowed = [i for i in range(len(tokenizer)) if i not in never]
            logits = model.word_logits(hidden[0]) / temperature
            log_probs = logits.gather(1, wanted[:, None])[:, 0] - logits[:, allowed].logsumexp(dim=1)
            mean = log_probs.mean() if each.finished else log_probs[:-1].mean()
            terms.append(-mean * (ours[i] - against))
        rewards += ours
    return torch.stack(terms).mean(), sum(rewards) / len(rewards)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("baseline", ["greedy", "leave_one_out"])
def test_loss_reward_and_gradient_of_two_pictures_by_hand(
    captioner: TrainConfig, baseline: Baseline, temperature: float
) -> None:
    scst = replace(captioner.scst, baseline=baseline, temperature=temperature)
    run = prepare(self_critical(captioner, "by-hand", scst=scst))
    model = run.model.eval()
    batch = run.training.sample_batch(turns(0, [0, 2]))
    wanted, reward = step_by_hand(run, batch, scst)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    expected = torch.autograd.grad(wanted, trained, allow_unused=True)
    losses = run.steps["scst"].take(model, batch, 0)
    gradients = torch.autograd.grad(losses["self_critical"], trained, allow_unused=True)
    assert abs(losses["self_critical"].item()) > 1e-3
    torch.testing.assert_close(losses["self_critical"], wanted, rtol=1e-4, atol=1e-6)
    assert losses["reward"].item() == pytest.approx(reward, rel=1e-5)
    for got, right in zip(gradients, expected, strict=True):
        assert (got is None) == (right is None)
        if got is not None:
            torch.testing.assert_close(got, right, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_those_of_the_draws(captioner: TrainConfig, temperature: float) -> None:
    run = prepare(self_critical(captioner, "draws"))
    model = cast(OscarForCaptioning, run.model.eval())
    batch = run.training.sample_batch(turns(0, range(5)))
    prefix, never = encode(model, batch), unwritable_ids(run.tokenizer)
    generators = [torch.Generator().manual_seed(seed) for seed in batch.seeds]
    # So short that some samples are cut: those did not draw [SEP].
    limits = {"max_pieces": 6, "min_pieces": 0}
    drawn = sample(
        model, prefix, generators, samples=4, temperature=temperature, forbidden_ids=never, **limits
    )
    assert {each.finished for samples in drawn for each in samples} == {True, False}
    found = mean_log_probs(model, prefix, drawn, never, temperature)
    wanted = torch.tensor([[each.score for each in samples] for samples in drawn])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_what_is_drawn_of_a_picture_depends_on_its_epoch_and_not_on_its_batch(captioner: TrainConfig) -> None:
    pictures = prepare(self_critical(captioner, "seeds")).training
    together = pictures.sample_batch(turns(0, [3, 1, 2]))
    assert together.seeds == (
        *pictures.sample_batch(turns(0, [3])).seeds,
        *pictures.sample_batch(turns(0, [1, 2])).seeds,
    )
    assert set(together.seeds).isdisjoint(pictures.sample_batch(turns(1, [3, 1, 2])).seeds)
    assert len(set(together.seeds)) == 3


def test_in_mixed_precision_every_weight_still_learns(captioner: TrainConfig) -> None:
    run = prepare(self_critical(captioner, "bf16"))
    batch = run.training.sample_batch(turns(0, range(5)))
    learned = {}
    for enabled in (False, True):
        run.model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = Learning(run.model, run.steps, {"scst": 1.0})({"scst": batch}, 0)["self_critical"]
        loss.backward()
        learned[enabled] = {name for name, p in run.model.named_parameters() if p.grad is not None}
    assert learned[True] == learned[False]


def test_the_greedy_caption_is_written_without_dropout_and_the_samples_with_it(
    captioner: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    import captioning.scst

    modes = []

    def noting(name: str, real: object) -> object:
        def called(model: OscarForCaptioning, *args: object, **options: object) -> object:
            modes.append((name, model.training))
            return real(model, *args, **options)  # type: ignore[operator]

        return called

    for name in ("generate", "sample", "score_captions"):
        monkeypatch.setattr(captioning.scst, name, noting(name, getattr(captioning.scst, name)))
    run = prepare(self_critical(captioner, "modes", scst=replace(captioner.scst, baseline="greedy")))
    run.model.train()
    run.steps["scst"].take(run.model, run.training.sample_batch(turns(0, [0])), 0)
    assert modes == [("generate", False), ("sample", True), ("score_captions", True)]
    assert run.model.training


def test_equal_samples_empty_ones_and_cut_ones_are_counted(
    captioner: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    import captioning.scst

    def drawn(*_args: object, **_options: object) -> list[list[Hypothesis]]:
        one, none, cut = (
            Hypothesis(ids, 0, 0, ended) for ids, ended in (((9,), True), ((), True), ((8, 8), False))
        )
        return [[one, one, none], [cut, cut, cut]]

    monkeypatch.setattr(captioning.scst, "sample", drawn)
    run = prepare(self_critical(captioner, "counts"))
    losses = run.steps["scst"].take(run.model, run.training.sample_batch(turns(0, [0, 1])), 0)
    shape = {name: losses[name].item() for name in ("repeated", "pieces", "cut")}
    assert shape == pytest.approx({"repeated": 3 / 6, "pieces": 8 / 6, "cut": 3 / 6})


@pytest.fixture(scope="module")
def undecided(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A captioner that prefers one of two captions, and data that reward the other."""
    folder = tmp_path_factory.mktemp("undecided")
    usual, rewarded, other = "一只狗在草地上奔跑。", "草地上的狗。", "两个人骑着自行车。"
    captions = {name: [usual, usual, rewarded] for name in ("a.jpg", "b.jpg")} | {"c.jpg": [other]}
    config = small_config(
        folder,
        captions=captions,
        steps=120,
        batch_size=3,
        validation=False,
        dropout=0.0,
        learning_rate=1e-2,
    )
    train(replace(config, data=replace(config.data, captions_per_picture=3)))
    right = {"a.jpg": [rewarded], "b.jpg": [rewarded], "c.jpg": [other]}
    path = write_captions(folder / "right.json", right)
    return replace(config, data=replace(config.data, train=path, validation=path))


@pytest.mark.parametrize("baseline", ["greedy", "leave_one_out"])
def test_a_run_raises_the_cider_of_greedy_captions(undecided: TrainConfig, baseline: Baseline) -> None:
    config = self_critical(
        undecided,
        baseline,
        steps=40,
        log_every=10,
        optim=replace(undecided.optim, learning_rate=1e-3),
        scst=ScstConfig(samples=8, baseline=baseline, segmenter="chars"),
        validation=ValidationConfig(every=40),
    )
    run = prepare(config)
    assert run.validation is not None
    before = validate(run.model, run.validation, config, alone(), stop=lambda: False)
    assert before is not None
    train(config)
    after = read_info(config.out / "last").scores["cider"]
    assert before.main < 7
    assert after == pytest.approx(10)
    lines = [json.loads(line) for line in (config.out / "log.jsonl").read_text("utf-8").splitlines()]
    steps = [line for line in lines if line["event"] == "step"]
    assert steps[-1]["reward"] > steps[0]["reward"]
    assert read_captioner(config.out / "last").info.objective == "scst"


def test_a_run_with_other_document_frequencies_is_not_resumed(captioner: TrainConfig) -> None:
    config = self_critical(captioner, "resumed", steps=1)
    train(config)
    words = replace(config, scst=replace(config.scst, segmenter="jieba"))
    with pytest.raises(
        ValueError,
        match=r"scst.segmenter is 'jieba', was 'chars'; the segmenter and document frequencies of the reward "
        "have other content",
    ):
        train(words)


def test_an_unknown_segmenter_is_answered_with_the_known(captioner: TrainConfig) -> None:
    config = self_critical(captioner, "unknown", scst=ScstConfig(segmenter="words"))
    with pytest.raises(ValueError, match="unknown segmenter 'words'; choose from chars, jieba"):
        prepare(config)


def test_rewards_compare_with_all_captions_of_a_picture(captioner: TrainConfig) -> None:
    run = prepare(self_critical(captioner, "references"))
    step = run.steps["scst"].take
    assert isinstance(step, SelfCritical)
    assert captioner.data.captions_per_picture == 2
    assert len(step.processes.rewards.references["c.jpg"]) == len(CAPTIONS["c.jpg"]) == 3
