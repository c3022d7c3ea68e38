r"""Does a captioner look at the picture? Its captions without tags, without regions, and of another picture.

    python -m benchmarks.ablation --regions build/flickr8kcn.h5 --references flickr8kcn/captions_val.json \
        --out benchmarks/results/ablation.json

Nothing is trained: what is taken away is masked, as padding is. A captioner that writes likely sentences
whatever it sees would score the same in every row (Oscar#146 reports one that did).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.machine import machine
from benchmarks.results import tell
from captioning.batches import PrefixBatch, collate_prefix
from captioning.captioner import Captioner
from captioning.examples import PrefixExample, prefix_example
from captioning.joins import join
from captioning.records import read_records
from captioning.writing import unwritable_ids
from eval.scorer import Scorer
from features.store import RegionStore
from oscar.decoding import generate

SHOWN = ("bleu-4", "rouge-l", "cider")


def without_tags(batch: PrefixBatch) -> PrefixBatch:
    """Of the tags only the closing [SEP] is left."""
    last = batch.tag_mask.sum(dim=1, keepdim=True) - 1
    return replace(batch, tag_mask=torch.arange(batch.tag_mask.shape[1]) == last)


def without_regions(batch: PrefixBatch) -> PrefixBatch:
    """No region is left, nor the whole picture's vector."""
    return replace(batch, region_mask=torch.zeros_like(batch.region_mask))


VARIANTS: dict[str, Callable[[PrefixBatch], PrefixBatch]] = {
    "tags and regions": lambda batch: batch,
    "regions alone": without_tags,
    "tags alone": without_regions,
    "neither": lambda batch: without_tags(without_regions(batch)),
}


@torch.inference_mode()
def captions(
    captioner: Captioner, examples: Sequence[PrefixExample], change: Callable[[PrefixBatch], PrefixBatch]
) -> list[str]:
    """Greedy captions of what is left of the pictures."""
    model, tokenizer, written = captioner.model, captioner.tokenizer, []
    for first in range(0, len(examples), 64):
        batch = change(collate_prefix(examples[first : first + 64], tokenizer.pad_id))
        prefix = model.bert.encode_prefix(
            batch.tag_ids, batch.tag_mask, batch.region_features, batch.region_mask
        )
        found = generate(model, prefix, beam_width=1, forbidden_ids=unwritable_ids(tokenizer))
        written += [tokenizer.decode(hypotheses[0].piece_ids) for hypotheses in found]
    return written


def main() -> None:
    """Caption, score, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--regions", type=Path, required=True)
    parser.add_argument("--references", type=Path, required=True)
    parser.add_argument("--checkpoint", default="mini")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    captioner = Captioner.from_pretrained(given.checkpoint, device="cpu")
    store = RegionStore(given.regions)
    records = join(read_records(given.references, "validation"), store).records
    captioner.check_store(store)
    examples = [
        prefix_example(
            store.regions(r.image_id), captioner.lexicon, captioner.tokenizer, captioner.info.prefix
        )
        for r in records
    ]
    names = [record.image_id for record in records]
    scorer = Scorer({record.image_id: record.captions for record in records}, protocol="aic-icc")
    found = {name: captions(captioner, examples, change) for name, change in VARIANTS.items()}
    # Everybody's neighbour: the same pictures, none its own.
    found["tags and regions of another picture"] = captions(
        captioner, [*examples[1:], examples[0]], VARIANTS["tags and regions"]
    )
    table = {}
    for name, written in found.items():
        scores = scorer.score(dict(zip(names, written, strict=True))).overall
        table[name] = {
            **{metric: round(scores[metric], 4) for metric in SHOWN},
            "different captions": len(set(written)),
        }
    tell(
        {
            "what": f"{given.checkpoint}, {len(names)} pictures, greedy, jieba words",
            "machine": machine(),
            "given": table,
        },
        given.out,
    )


if __name__ == "__main__":
    main()
