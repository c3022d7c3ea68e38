"""Published per-system and per-picture scores, reproduced."""

import json
import os
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from eval.evaluation import Settings, evaluate_files
from eval.metrics import DEFAULT_METRICS, Scores

ROOT = Path(os.environ.get("EVAL_GOLDEN_DIR") or Path(__file__).parents[1] / "golden_eval")
NAMES = {
    "bleu-1": "Bleu_1",
    "bleu-2": "Bleu_2",
    "bleu-3": "Bleu_3",
    "bleu-4": "Bleu_4",
    "rouge-l": "ROUGE_L",
    "cider": "CIDEr",
    "meteor": "METEOR",
}
needs_java = pytest.mark.skipif(
    shutil.which("java") is None, reason="METEOR needs Java: apt-get install default-jre-headless"
)
metrics = pytest.mark.parametrize(
    "metric", [pytest.param(name, marks=needs_java if name == "meteor" else ()) for name in NAMES]
)
SYSTEMS = sorted(
    (folder, predictions.stem.removeprefix("predictions_"))
    for folder in [ROOT, *ROOT.glob("*/")]
    if (folder / "references.json").is_file()
    for predictions in folder.glob("predictions_*.json")
)
systems = pytest.mark.parametrize(("folder", "system"), SYSTEMS, ids=[system for _, system in SYSTEMS])


@cache
def scored(folder: Path, system: str, by_java: bool) -> Scores:
    settings = Settings(
        protocols=("coco-cn",), metrics=("meteor",) if by_java else DEFAULT_METRICS, resamples=0
    )
    evaluation = evaluate_files([folder / f"predictions_{system}.json"], folder / "references.json", settings)
    return evaluation.systems[0].scores[0]


def expected(folder: Path, system: str) -> dict[str, Any]:
    return json.loads((folder / f"expected_{system}.json").read_text(encoding="utf-8"))


def test_golden_folder_holds_systems() -> None:
    assert SYSTEMS, f"{ROOT}: no references.json with predictions_<system>.json"


@systems
@metrics
def test_golden_overall_score_is_the_published_one(folder: Path, system: str, metric: str) -> None:
    published = expected(folder, system)["overall_published"][NAMES[metric]]
    assert scored(folder, system, metric == "meteor").overall[metric] == pytest.approx(published, abs=0.0006)


@systems
@metrics
def test_golden_per_picture_scores_are_the_published_ones(folder: Path, system: str, metric: str) -> None:
    references = json.loads((folder / "references.json").read_text(encoding="utf-8"))
    file_names = {str(image["id"]): image["file_name"] for image in references["images"]}
    published = expected(folder, system)["per_image_published"]
    ours = scored(folder, system, metric == "meteor").per_image
    differences = [
        abs(ours[file_names[number]][metric] - figures[NAMES[metric]])
        for number, figures in published.items()
    ]
    assert len(differences) == len(ours)
    if metric == "cider":  # pycocoevalcap itself is off by up to 0.0355 on one or two pictures a system
        assert max(differences) <= 0.036
        assert sum(difference > 0.0005 + 1e-6 for difference in differences) <= 2
    else:
        assert max(differences) <= 0.0005 + 1e-6
