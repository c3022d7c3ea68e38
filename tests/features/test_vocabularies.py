from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from features.published import WeightsError
from features.vocabularies import CLASS_LISTS, load_vocabulary
from tests.features.c4.published import frcnn, vinvl
from tests.features.mirror import Mirror

WORDS = ("Tree", "surfboard,surf board", " t-shirt ")
NUMBERS = {"__background__": 0, "tree": 2, "sky": 1, "cat": 3}


@pytest.fixture(autouse=True)
def small_lists(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of three classes, published under the real names by a local server."""
    served = {
        "vg-1600": "\n".join(WORDS) + "\n",
        "vinvl-1594": json.dumps({"label_to_idx": NUMBERS, "attribute_to_idx": {"red": 1}}),
    }
    for name, text in served.items():
        listed = CLASS_LISTS[name]
        url = mirror.serve(listed.file_name, text.encode())
        monkeypatch.setitem(CLASS_LISTS, name, replace(listed, mirrors=(url,), count=3))


def test_a_text_list_gives_the_first_word_of_each_line() -> None:
    assert load_vocabulary("vg-1600") == ("tree", "surfboard", "t-shirt")


def test_a_json_list_gives_the_names_by_number_without_background() -> None:
    assert load_vocabulary("vinvl-1594") == ("sky", "tree", "cat")


def test_the_list_beside_the_weights_goes_before_the_published_one(tmp_path: Path, mirror: Mirror) -> None:
    own = {"label_to_idx": {"cat": 1, "dog": 2, "cow": 3}}
    (tmp_path / CLASS_LISTS["vinvl-1594"].file_name).write_text(json.dumps(own), encoding="utf-8")
    assert load_vocabulary("vinvl-1594", tmp_path / "fine_tuned.pth") == ("cat", "dog", "cow")
    assert mirror.asked == []


def test_weights_without_a_list_beside_them_have_the_published_one(tmp_path: Path) -> None:
    assert load_vocabulary("vg-1600", tmp_path / "weights.bin") == ("tree", "surfboard", "t-shirt")


def test_cocos_classes_need_no_file(mirror: Mirror) -> None:
    names = load_vocabulary("coco-80")
    assert (len(names), names[0], names[-1]) == (80, "person", "toothbrush")
    assert mirror.asked == []


def test_the_short_lists_are_read_without_torch() -> None:
    program = (
        "import sys; from features.vocabularies import load_vocabulary; "
        "print(len(load_vocabulary('voc-20')), len(load_vocabulary('coco-80')), 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "20 80 False\n"


def test_the_published_sizes_are_those_of_the_heads() -> None:
    published = {"vg-400-attributes": frcnn(), "vinvl-524-attributes": vinvl()}
    for name, keys in published.items():
        ((n_rows,),) = [shape for _, ours, shape in keys if ours == "attributes.scores.bias"]
        assert n_rows == CLASS_LISTS[name].count + 1  # none has a row too


def test_an_unknown_vocabulary_is_answered_with_those_that_exist() -> None:
    with pytest.raises(
        ValueError, match="unknown vocabulary 'vg-150'; choose from coco-80, vg-1600, vg-400.*, voc-20"
    ):
        load_vocabulary("vg-150")


def test_without_a_connection_the_message_says_where_the_list_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = replace(CLASS_LISTS["vg-1600"], mirrors=("http://127.0.0.1:9/objects_vocab.txt",))
    monkeypatch.setitem(CLASS_LISTS, "vg-1600", listed)
    with pytest.raises(WeightsError) as caught:
        load_vocabulary("vg-1600")
    assert f"put it at {listed.path}, or put it as objects_vocab.txt beside the weights" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no json", "not a class list"),
        ('{"labels": {}}', "not a class list .KeyError.'label_to_idx'"),
        ('{"label_to_idx": ["cat"]}', "not a class list"),
        ('{"label_to_idx": {"cat": 1, "dog": 3, "cow": 4}}', "the numbers of label_to_idx have gaps"),
        ('{"label_to_idx": {"cat": 1}}', "1 class names, wanted are 3"),
        ('{"label_to_idx": {"cat": 1, " ": 2, "cow": 3}}', "2 class names, wanted are 3"),
    ],
)
def test_a_file_that_is_no_such_list_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / CLASS_LISTS["vinvl-1594"].file_name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"{path.name}: .*{reason}"):
        load_vocabulary("vinvl-1594", tmp_path / "w.pth")
