"""Examples with the original's random draws, equal to those that the original made."""

from __future__ import annotations

import json
import os
import random
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from transformers import BertTokenizer

from captioning.original_examples import CaptionSlots, original_caption_example, original_pair_example
from captioning.tokenizer import CaptionTokenizer

GOLDEN = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parents[1] / "golden"))
FOLDERS = sorted(path.parent for path in GOLDEN.glob("tensorizer*/examples.json"))
EXAMPLES = [
    (folder, example)
    for folder in FOLDERS
    for example in json.loads((folder / "examples.json").read_text(encoding="utf-8"))
]
PRETRAINING = sorted(path.parent for path in GOLDEN.glob("pretrain*/inputs.safetensors"))
CAPTIONING = sorted(path.parent for path in GOLDEN.glob("caption_*/vocab.txt"))
examples = pytest.mark.parametrize(
    ("folder", "example"), EXAMPLES, ids=[f"{folder.name}-{example['index']}" for folder, example in EXAMPLES]
)


@cache
def tokenizer(folder: Path) -> CaptionTokenizer:
    return CaptionTokenizer.from_folder(folder)


@cache
def arrays(folder: Path) -> dict[str, NDArray[Any]]:
    with np.load(folder / "arrays.npz") as stored:
        return dict(stored)


@examples
def test_golden_caption_examples_are_equal_in_every_draw(folder: Path, example: dict[str, Any]) -> None:
    slots = CaptionSlots(
        text=example["max_seq_length"],
        caption=example["max_seq_a_length"],
        regions=example["max_img_seq_length"],
        mask_share=example["mask_prob"],
        max_masked=example["max_masked_tokens"],
    )
    rng = random.Random(example["random_seed"])
    caption = example["caption"] if example["is_train"] else None
    made = original_caption_example(
        caption, example["tags"], example["num_regions"], tokenizer(folder), slots, rng
    )
    recorded = {
        name: arrays(folder).get(f"{example['index']}_{name}")
        for name in ("input_ids", "segment_ids", "attention_mask", "masked_pos", "masked_ids")
    }
    assert (recorded["masked_ids"] is None) == (made.masked_ids is None)
    for name, wanted in recorded.items():
        if wanted is not None:
            assert np.array_equal(getattr(made, name), wanted), name
    assert rng.random() == example["random_state_check"]


@examples
def test_golden_tokens_are_ours_and_those_of_transformers(folder: Path, example: dict[str, Any]) -> None:
    ours, theirs = tokenizer(folder), BertTokenizer.from_pretrained(folder, do_lower_case=True)
    for text, tokens in (
        (example["caption"], example["caption_tokens"]),
        (example["tags"], example["tag_tokens"]),
    ):
        if tokens is not None:
            ids = ours.encode(text)
            assert [ours.pieces[index] for index in ids] == tokens
            assert theirs.encode(text, add_special_tokens=False) == ids


@pytest.mark.parametrize("folder", PRETRAINING, ids=[folder.name for folder in PRETRAINING])
def test_golden_pretraining_examples_are_equal_in_every_draw(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    recorded = load_file(folder / "inputs.safetensors")
    rng = random.Random(meta["random_seed_for_masking"])
    for row, example in enumerate(meta["examples"]):
        made = original_pair_example(
            example["text_a"],
            example["text_b"],
            example["num_regions"],
            tokenizer(folder),
            rng,
            text_slots=meta["max_seq_length"],
            region_slots=meta["max_img_seq_length"],
        )
        assert np.array_equal(made.input_ids, recorded["input_ids"][row])
        assert np.array_equal(made.segment_ids, recorded["token_type_ids"][row])
        assert np.array_equal(made.attention_mask, recorded["attention_mask"][row])
        assert np.array_equal(made.labels, recorded["masked_lm_labels"][row])


@pytest.mark.parametrize("folder", CAPTIONING, ids=[folder.name for folder in CAPTIONING])
def test_golden_generation_starts_from_the_same_tensors(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    recorded = load_file(folder / "gen_inputs.safetensors")
    slots = CaptionSlots(
        text=recorded["input_ids"].shape[1],
        caption=meta["max_gen_length"],
        regions=recorded["attention_mask"].shape[2] - recorded["input_ids"].shape[1],
    )
    for row, n_regions in enumerate(meta["num_regions"]):
        tags = meta["tags"][row] if meta["add_od_labels"] else None
        made = original_caption_example(None, tags, n_regions, tokenizer(folder), slots, random.Random(0))
        assert np.array_equal(made.input_ids, recorded["input_ids"][row])
        assert np.array_equal(made.segment_ids, recorded["token_type_ids"][row])
        assert np.array_equal(made.attention_mask, recorded["attention_mask"][row])


def test_tags_without_slots_are_refused() -> None:
    pieces = CaptionTokenizer.build(["狗"])
    with pytest.raises(ValueError, match="slots above the 8 of the caption, there are 8 in all"):
        original_caption_example("狗", "狗", 1, pieces, CaptionSlots(text=8, caption=8), random.Random(0))
