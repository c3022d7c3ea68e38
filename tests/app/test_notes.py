from __future__ import annotations

import csv
import re
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.notes import TIE, Correction, Notes, NotesRefused
from app.settings import AppConfig
from eval.annotations import read_predictions

NASTY = ["a.jpg", "=1+1.jpg", "a,b|c.jpg", 'quo"te.jpg', "行\n行.jpg", "'@x.jpg"]


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "notes")


def again(notes: Notes) -> Notes:
    """As another process reads it."""
    return Notes(notes.folder)


def test_nothing_is_written_before_somebody_writes(notes: Notes) -> None:
    assert (notes.marked, dict(notes.votes), notes.views) == (frozenset(), {}, {})
    assert dict(notes.corrections("first")) == {}
    assert not notes.folder.exists()


def test_the_folder_lies_beside_the_captions_unless_another_is_named() -> None:
    assert Notes.beside(AppConfig(predictions=(Path("out/a.json"),))).folder == Path("out/tushuo-notes")
    assert Notes.beside(AppConfig()).folder == Path("tushuo-notes")
    assert Notes.beside(AppConfig(notes=Path("x"))).folder == Path("x")


def test_marks_are_put_and_taken_away(notes: Notes) -> None:
    for image_id in NASTY:
        notes.mark(image_id, True)
    assert again(notes).marked == frozenset(NASTY)
    notes.mark(NASTY[0], False)
    assert again(notes).marked == frozenset(NASTY[1:])


def test_corrections_are_predictions_that_eval_reads(notes: Notes) -> None:
    for image_id in NASTY:
        notes.correct(
            "a/b", Correction(image_id=image_id, caption="一只黄狗", original="一只狗", note="李 5 月")
        )
    (path,) = (notes.folder / "corrections").iterdir()
    assert path.name == "a%2Fb.json"
    assert {each: found.caption for each, found in read_predictions(path).items()} == dict.fromkeys(
        NASTY, "一只黄狗"
    )
    assert again(notes).corrections("a/b")["a.jpg"].note == "李 5 月"


def test_corrections_of_systems_with_long_names_are_kept_apart(notes: Notes) -> None:
    names = ["一个有很长的中文名字的模型第一版", "一个有很长的中文名字的模型第二版", "not utf-8 \udcff"]
    for name in names:
        notes.correct(name, Correction(image_id="a", caption=name[-3], original="一只狗", note=""))
    assert [again(notes).corrections(name)["a"].caption for name in names] == ["第", "第", "8"]
    assert len(list((notes.folder / "corrections").iterdir())) == 3


@pytest.mark.parametrize("caption", ["", "  ", "一只狗"])
def test_a_correction_that_corrects_nothing_takes_an_earlier_one_back(notes: Notes, caption: str) -> None:
    notes.correct("x", Correction(image_id="a", caption="一只猫", original="一只狗", note=""))
    notes.correct("x", Correction(image_id="a", caption=caption, original="一只狗", note=""))
    assert dict(again(notes).corrections("x")) == {}


def test_the_last_vote_of_a_picture_and_its_systems_counts(notes: Notes) -> None:
    for image_id in NASTY:
        notes.vote(image_id, ["=one", "two"], "two")
        notes.vote(image_id, ["=one", "two"], TIE)
        notes.vote(image_id, ["=one", "three"], "=one")
    wanted = {(image_id, ("=one", "two")): TIE for image_id in NASTY}
    wanted |= {(image_id, ("=one", "three")): "=one" for image_id in NASTY}
    assert again(notes).votes == wanted == notes.votes
    with (notes.folder / "votes.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


def test_votes_of_many_at_once_are_all_there(notes: Notes) -> None:
    def vote(number: int) -> None:
        for turn in range(20):
            notes.vote(f"{number}-{turn}", ["a", "b"], "a")
            notes.mark(f"{number}-{turn}", True)

    threads = [threading.Thread(target=vote, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(again(notes).votes) == len(again(notes).marked) == 80


@given(st.dictionaries(st.text(min_size=1, max_size=50).filter(str.strip), st.lists(st.text(), max_size=2)))
def test_views_come_back(tmp_path_factory: pytest.TempPathFactory, query: dict[str, list[str]]) -> None:
    notes = Notes(tmp_path_factory.mktemp("views"))
    query = {
        key.encode("utf-8", "replace").decode(): [t.encode("utf-8", "replace").decode() for t in texts]
        for key, texts in query.items()
    }
    notes.save_view(" one ", query)
    notes.save_view("two", {})
    notes.save_view("two", None)
    assert again(notes).views == {"one": query}


def test_what_another_process_writes_is_seen_and_not_written_over(notes: Notes) -> None:
    other = again(notes)
    notes.mark("a", True)
    assert other.marked == {"a"}
    other.mark("b", True)
    notes.mark("c", True)
    other.vote("a", ["x", "y"], "x")
    notes.vote("b", ["x", "y"], "y")
    assert notes.marked == other.marked == {"a", "b", "c"}
    assert notes.votes == other.votes == {("a", ("x", "y")): "x", ("b", ("x", "y")): "y"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("marked.json", "[", r"marked\.json: broken JSON"),
        ("marked.json", "{}", r"marked\.json: wanted a JSON list, found dict"),
        ("views.json", "[]", r"views\.json: wanted a JSON dict, found list"),
        ("votes.csv", "a,b\n", r"votes\.csv, record 1: wanted are the columns image_id, best, systems"),
        ("corrections/x.json", "7", r"x\.json: wanted a JSON list, found int"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_and_stays_as_it_is(
    notes: Notes, name: str, content: str, message: str
) -> None:
    path = notes.folder / name
    path.parent.mkdir(parents=True)
    path.write_text(content, encoding="utf-8")
    for write in (
        lambda: notes.mark("a", True),
        lambda: notes.save_view("a", {}),
        lambda: notes.vote("a", ["x", "y"], "x"),
        lambda: notes.correct("x", Correction(image_id="a", caption="b", original="c", note="")),
    ):
        try:
            write()
        except NotesRefused as error:
            assert re.search(message, str(error))
    assert path.read_text("utf-8") == content


def test_a_folder_that_cannot_be_written_is_told(notes: Notes) -> None:
    notes.folder.parent.mkdir(exist_ok=True)
    notes.folder.write_text("a file is in the way")
    for write in (lambda: notes.mark("a", True), lambda: notes.vote("a", ["x", "y"], "x")):
        with pytest.raises(NotesRefused, match="notes"):
            write()
