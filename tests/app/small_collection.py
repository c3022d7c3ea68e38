"""Three pictures with regions, two systems' captions and references: for tests only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from features.store import Regions, StoreMeta, box_geometry, write_shard
from features.tags import Lexicon

HOSTILE = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script> **粗** $x$ :red[红] \u202e倒'
VOCABULARY = Lexicon.load("zh", "voc-20").english
DOG, PERSON = VOCABULARY.index("dog"), VOCABULARY.index("person")


def make_collection(folder: Path) -> list[str]:
    """Write the files; the arguments with which the app opens them."""
    images = folder / "pictures"
    (images / "inner").mkdir(parents=True)
    for name, colour in (("a.jpg", "green"), ("b.jpg", "red"), ("inner/狗.jpg", "blue")):
        Image.new("RGB", (200, 100), colour).save(images / name)
    (folder / "secret.jpg").write_bytes((images / "a.jpg").read_bytes())
    write_shard(
        folder / "regions.h5",
        [regions("a.jpg", [DOG, PERSON, DOG], [0.9, 0.6, 0.1]), regions("b.jpg", [PERSON], [0.5])],
        StoreMeta(
            backend="mini", description={}, vocabulary=VOCABULARY, vocabulary_id="voc-20", feature_dim=2
        ),
    )
    first = [
        {
            "image_id": "a.jpg",
            "caption": "一只狗在草地上奔跑",
            "log_prob": -4.5,
            "score": -0.5,
            "alternatives": [
                {"caption": "一只狗在草地上奔跑", "log_prob": -4.5, "score": -0.5},
                {"caption": "两只狗在玩耍", "log_prob": -6.25, "score": -0.75},
            ],
        },
        {"image_id": "b.jpg", "caption": HOSTILE},
        {"image_id": "elsewhere.jpg", "caption": "不在文件夹里"},
    ]
    second = [
        {"image_id": name, "caption": "一个人在骑自行车"} for name in ("a.jpg", "b.jpg", "inner/狗.jpg")
    ]
    references = [
        {"image_id": "a.jpg", "caption": ["一只狗在草地上奔跑", "草地上有一只狗"]},
        {"image_id": "b.jpg", "caption": ["一个人骑着自行车"]},
    ]
    for name, content in (("first", first), ("second", second), ("references", references)):
        (folder / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return [
        *("--images", str(images), "--regions", str(folder / "regions.h5")),
        *("--predictions", str(folder / "first.json"), str(folder / "second.json")),
        *("--references", str(folder / "references.json"), "--checkpoint", str(folder / "none")),
    ]


def regions(image_id: str, object_ids: list[int], scores: list[float]) -> Regions:
    """Boxes side by side in a 200 x 100 picture."""
    count = len(object_ids)
    boxes = np.array([[60 * n + 5, 10, 60 * n + 55, 90] for n in range(count)], np.float32)
    return Regions(
        image_id=image_id,
        width=200,
        height=100,
        features=np.zeros((count, 2), np.float16),
        boxes=boxes,
        geometry=box_geometry(boxes, 200, 100),
        object_ids=np.array(object_ids, np.int32),
        object_scores=np.array(scores, np.float32),
    )
