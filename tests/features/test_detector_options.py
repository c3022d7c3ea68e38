"""What may be asked of the bundled and of torchvision's detector, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from features.backends.base import DetectorOptions, load_backend
from features.backends.mini import MiniBackend

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["mini", "torchvision"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attributes": True}, "detector has no attributes; c4 has, with Visual Genome weights"),
        ({"amp": True}, "detector runs in float32 only; c4 runs in bfloat16"),
        ({"class_topk": 81}, r"class_topk must lie in 0\.\.\d+ .*, got 81"),
        ({"class_topk": -1}, r"class_topk must lie in 0\.\.\d+ .*, got -1"),
        ({"profile": "vinvl"}, "profile 'vinvl' keeps proposals, which the .* detector does not give; set"),
        ({"profile": "best"}, "unknown selection profile 'best'; choose from agnostic"),
    ],
)  # fmt: skip
def test_what_a_detector_cannot_do_is_refused_before_its_weights_are_read(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_backend(name, Path("no such weights"), "cpu", DetectorOptions(**options))


def test_the_mini_detector_takes_another_profile_and_tells_more_classes() -> None:
    pictures = torch.randn(2, 3, 320, 320, generator=torch.Generator().manual_seed(4)).clamp(-1, 1)
    overrides = {"box_source": "regressed", "min_regions": 5, "max_regions": 5}
    options = DetectorOptions(profile="vinvl", overrides=overrides, class_topk=3)
    backend = load_backend("mini", None, "cpu", options)
    default = MiniBackend(None, CPU)

    found = backend.detect(pictures, [(320, 320)] * 2)

    assert backend.description() != default.description()
    for one in found:
        assert len(one.boxes) == 5
        assert one.class_ids is not None and one.class_scores is not None
        assert one.class_ids.shape == one.class_scores.shape == (5, 3)
        assert (np.diff(one.class_scores, axis=1) <= 0).all()


def test_more_classes_change_nothing_else() -> None:
    pictures = torch.randn(1, 3, 320, 320, generator=torch.Generator().manual_seed(4)).clamp(-1, 1)
    default = MiniBackend(None, CPU)
    more = MiniBackend(None, CPU, class_topk=2)

    (one,), (other,) = default.detect(pictures, [(100, 200)]), more.detect(pictures, [(100, 200)])

    assert more.description() == default.description()
    assert one.class_ids is None
    assert other.class_ids is not None and other.class_scores is not None
    np.testing.assert_array_equal(other.class_ids[:, 0], one.object_ids)
    np.testing.assert_array_equal(other.class_scores[:, 0], one.object_scores.astype(np.float16))
    for name in ("boxes", "object_ids", "object_scores", "features", "global_feature"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
