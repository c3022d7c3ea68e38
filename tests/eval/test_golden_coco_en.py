"""Published scores of English captions, reproduced with our own Treebank tokens."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from eval.metrics import Scores
from eval.scorer import evaluate

ROOT = Path(os.environ.get("EVAL_GOLDEN_DIR") or Path(__file__).parents[1] / "golden_eval")
FOLDER = ROOT / "coco_en_fakecap"
NAMES = {"bleu-1": "Bleu_1", "bleu-2": "Bleu_2", "bleu-3": "Bleu_3", "bleu-4": "Bleu_4", "rouge-l": "ROUGE_L"}

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no coco_en_fakecap in {ROOT}")


def content(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


@cache
def scored() -> Scores:
    references: dict[str, list[str]] = {}
    for record in content("references.json")["annotations"]:
        references.setdefault(str(record["image_id"]), []).append(record["caption"])
    predictions = {str(record["image_id"]): record["caption"] for record in content("predictions.json")}
    return evaluate(predictions, references, "coco-en", ["bleu", "rouge"])


@pytest.mark.parametrize("metric", NAMES)
def test_golden_english_scores_of_every_picture_are_the_published_ones(metric: str) -> None:
    published = content("expected.json")["per_image_published"]
    found = {image_id: scores[metric] for image_id, scores in scored().per_image.items()}
    wanted = {image_id: figures[NAMES[metric]] for image_id, figures in published.items()}
    assert len(wanted) == 59
    assert found == pytest.approx(wanted, abs=0.0005)
