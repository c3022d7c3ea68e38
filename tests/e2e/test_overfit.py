"""A captioner with enough steps knows eight real pictures by heart: nothing on the way loses a word."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "images"
N_PICTURES = 8


def run(folder: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr


def test_the_captions_of_eight_pictures_are_reproduced_exactly(tmp_path: Path) -> None:
    records = json.loads((EXAMPLES / "captions_train.json").read_text(encoding="utf-8"))[:N_PICTURES]
    wanted = {}
    (tmp_path / "pictures").mkdir()
    for record in records:
        wanted[record["image_id"]] = record["caption"][0]
        record["caption"] = record["caption"][:1]
        shutil.copy(EXAMPLES / record["image_id"], tmp_path / "pictures")
    (tmp_path / "captions.json").write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    run(tmp_path, "features.extract", "--images", "pictures", "--backend", "mini", "--out", "regions.h5")
    options = ["--data.regions", "regions.h5", "--data.train", "captions.json", "--data.validation", "null"]
    options += ["--steps", "120", "--batch_size", str(N_PICTURES), "--optim.learning_rate", "1e-3"]
    options += ["--model.dropout", "0", "--model.attention_dropout", "0", "--model.layers", "2"]
    run(tmp_path, "captioning.train", *options, "--out", "run")
    captions = ["--checkpoint", "run/last", "--out", "written.json"]
    run(tmp_path, "captioning.caption", "--features", "regions.h5", *captions)
    written = json.loads((tmp_path / "written.json").read_text(encoding="utf-8"))
    assert {each["image_id"]: each["caption"] for each in written} == wanted
