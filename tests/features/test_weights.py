from __future__ import annotations

from pathlib import Path

import pytest
from torchvision.models import WeightsEnum
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_V2_Weights, FasterRCNN_ResNet50_FPN_Weights

import features.weights
from features.vocabularies import CLASS_LISTS
from features.weights import REGISTRY, WeightsEntry, WeightsError, best_backend, cached, fetch, weights_file
from tests.features.mirror import Mirror

pytestmark = pytest.mark.usefixtures("empty_caches")


def entry(*mirrors: str, backend: str = "torchvision", lists: tuple[str, ...] = ()) -> WeightsEntry:
    return WeightsEntry(
        backend=backend, variant="v", mirrors=mirrors, size_mb=1, vocabularies=lists, quality="none"
    )


def put(name: str) -> Path:
    """Weights of the registry with their class lists, as if they had been downloaded."""
    for file in REGISTRY[name].missing:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.write_bytes(b"")
    return REGISTRY[name].path


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("fasterrcnn_resnet50_fpn", FasterRCNN_ResNet50_FPN_Weights.COCO_V1),
        ("fasterrcnn_resnet50_fpn_v2", FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1),
    ],
)
def test_torchvisions_weights_are_those_that_it_publishes(name: str, published: WeightsEnum) -> None:
    assert REGISTRY[name].mirrors == (published.url,)
    assert published.url.endswith(f"-{REGISTRY[name].hash_prefix}.pth")  # digits of the SHA-256
    assert f"{published.meta['_metrics']['COCO-val2017']['box_map']} box AP" in REGISTRY[name].quality
    assert REGISTRY[name].size_mb == round(published.meta["_file_size"])


def test_no_two_published_files_share_a_place_in_the_cache() -> None:
    places: dict[Path, set[str]] = {}
    for file in (*REGISTRY.values(), *CLASS_LISTS.values()):
        places.setdefault(file.path, set()).add(file.mirrors[0])
    assert [urls for urls in places.values() if len(urls) > 1] == []


def test_a_name_is_fetched_and_found_again(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features.weights, "REGISTRY", {"test": entry(mirror.serve("model.pth", b"data"))})
    assert cached("torchvision") is None
    assert fetch("test").read_bytes() == b"data"
    assert cached("torchvision") == "test"
    assert weights_file("torchvision", None) == weights_file("torchvision", Path("test")) == fetch("test")


def test_without_weights_the_best_of_the_back_end_is_downloaded(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = {
        "other": entry(mirror.serve("other.pth", b"0"), backend="c4"),
        "best": entry(mirror.serve("best.pth", b"1")),
        "second": entry(mirror.serve("second.pth", b"2")),
    }
    monkeypatch.setattr(features.weights, "REGISTRY", registry)
    assert weights_file("torchvision", None).name == "best.pth"
    assert mirror.asked == ["/best.pth"]


def test_weights_that_are_here_go_before_better_ones_that_are_not() -> None:
    put("fasterrcnn_resnet50_fpn")
    assert cached("torchvision") == "fasterrcnn_resnet50_fpn"


def test_weights_are_not_here_until_their_class_lists_are() -> None:
    path = REGISTRY["vinvl_vg_x152c4"].path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert cached("c4") is None
    assert [file.file_name for file in REGISTRY["vinvl_vg_x152c4"].missing] == [
        "VG-SGG-dicts-vgoi6-clipped.json"
    ]
    assert put("vinvl_vg_x152c4") == path
    assert cached("c4") == "vinvl_vg_x152c4"


def test_offline_the_weights_and_their_class_list_are_named_with_their_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    down = entry("http://127.0.0.1:9/a.pth", "http://127.0.0.1:9/b.pth", backend="c4", lists=("vinvl-1594",))
    monkeypatch.setattr(features.weights, "REGISTRY", {"test": down})
    with pytest.raises(WeightsError) as caught:
        fetch("test")
    message = str(caught.value)
    assert all(f"{url}: <urlopen error" in message for url in down.mirrors)
    assert f"Fetch it (1 MB) from there on a machine with a connection and put it at {down.path}" in message
    listed = CLASS_LISTS["vinvl-1594"]
    assert message.endswith(f"; its class list {listed.mirrors[0]} goes to {listed.path}.")


def test_a_file_goes_before_a_name(tmp_path: Path) -> None:
    path = tmp_path / "own.pth"
    path.write_bytes(b"")
    assert weights_file("c4", path) == path


def test_a_missing_file_is_answered_with_the_back_ends_names() -> None:
    with pytest.raises(FileNotFoundError, match="own.pth: no such weights file; .* of vinvl_vg_x152c4, fr"):
        weights_file("c4", Path("own.pth"))


def test_a_name_of_another_back_end_is_answered_with_that_back_end() -> None:
    with pytest.raises(
        WeightsError, match="fasterrcnn_resnet50_fpn are weights of the back end torchvision, not of c4"
    ):
        weights_file("c4", Path("fasterrcnn_resnet50_fpn"))


def test_unknown_weights_are_answered_with_those_that_exist() -> None:
    with pytest.raises(WeightsError, match="unknown weights 'v3'; choose from faster_rcnn_R_101_C4_3x, "):
        fetch("v3")


def test_auto_takes_the_best_back_end_whose_weights_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = tmp_path / "detector.safetensors"
    monkeypatch.setattr("features.backends.mini.bundled_weights", lambda: bundled)
    with pytest.raises(FileNotFoundError, match="no back end has weights here: .*detector.safetensors"):
        best_backend()
    bundled.write_bytes(b"")
    assert best_backend() == "mini"
    put("fasterrcnn_resnet50_fpn")
    assert best_backend() == "torchvision"
    put("faster_rcnn_R_50_C4_3x")
    assert best_backend() == "c4"
