from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import captioning.captioner as captioner_module
from captioning.captioner import Caption, Captioner, CaptionFailure, DetectorMismatch
from captioning.checkpoints import CheckpointError
from captioning.decode_config import DecodeConfig
from captioning.places import MINI_LICENCE, checkpoint_folder, mini_folder, say_licence
from features.images import ImageError
from features.store import RegionStore
from oscar.decoding import Hypothesis
from tests.captioning.small_captioner import (
    META,
    SmallExtractor,
    small_regions,
    write_small_checkpoint,
    write_small_store,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_checkpoint(tmp_path_factory.mktemp("checkpoints") / "small")


@pytest.fixture
def captioner(folder: Path) -> Captioner:
    loaded = Captioner.from_pretrained(folder, device="cpu")
    loaded._extractor = SmallExtractor()  # type: ignore[assignment]
    return loaded


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name in ("a.jpg", "inner/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 10)).save(tmp_path / name)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    return tmp_path


def test_a_caption_carries_its_search_results_tags_and_regions(captioner: Captioner) -> None:
    regions = small_regions("dog.jpg")
    caption = captioner.caption(regions, n_best=3)
    assert caption.image_id == "dog.jpg"
    assert caption.text
    assert [a.text for a in caption.alternatives][0] == caption.text
    assert len(caption.alternatives) == 3
    scores = [alternative.score for alternative in caption.alternatives]
    assert scores == sorted(scores, reverse=True)
    assert caption.log_prob < caption.score < 0
    assert caption.regions is regions
    first = captioner.lexicon.chinese(int(regions.object_ids[0]))
    assert caption.tags[0].text == first
    assert caption.tags[0].score == pytest.approx(0.9)


def test_a_picture_gets_the_same_caption_alone_and_in_any_batch(captioner: Captioner) -> None:
    regions = [small_regions(f"{n}.jpg", n_regions=1 + n % 5) for n in range(7)]
    alone = [captioner.caption(picture) for picture in regions]
    together = list(captioner.caption_many(regions, batch_size=4))
    assert [c.image_id for c in together] == [f"{n}.jpg" for n in range(7)]
    for one, other in zip(alone, together, strict=True):
        assert isinstance(other, Caption)
        assert other.text == one.text
        assert other.log_prob == pytest.approx(one.log_prob, abs=1e-4)


def test_different_pictures_are_read_differently(captioner: Captioner) -> None:
    found = captioner.caption_regions([small_regions(f"{n}.jpg") for n in range(4)])
    assert len({round(caption.log_prob, 5) for caption in found}) == 4


def test_no_caption_holds_an_unknown_piece(captioner: Captioner) -> None:
    captioner.model.cls.predictions.bias.data[captioner.tokenizer.unk_id] = (
        100.0  # the model wants nothing else
    )
    caption = captioner.caption(small_regions("a.jpg"), n_best=3)
    assert all("[UNK]" not in alternative.text for alternative in caption.alternatives)


def test_decoding_is_as_the_checkpoint_says_unless_told_otherwise(
    captioner: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[DecodeConfig] = []

    def spy(model: object, prefix: object, config: DecodeConfig, *_: object) -> list[list[Hypothesis]]:
        asked.append(config)
        return [[Hypothesis((5,), -1.0, -0.5, True)]]

    monkeypatch.setattr(captioner_module, "write_captions", spy)
    captioner.caption(small_regions("a.jpg"))
    captioner.caption(small_regions("a.jpg"), beam_width=1, max_pieces=2)
    captioner.caption_regions([small_regions("a.jpg")], DecodeConfig(beam_width=2))
    assert [(config.beam_width, config.max_pieces) for config in asked] == [(3, 6), (1, 2), (2, 38)]


def test_every_caption_holds_the_words_asked_for(captioner: Captioner) -> None:
    caption = captioner.caption(small_regions("a.jpg"), constraints=["狗", ["草地", "骑着"]], n_best=3)
    for alternative in caption.alternatives:
        assert "狗" in alternative.text
        assert "草地" in alternative.text or "骑着" in alternative.text


def test_words_asked_of_one_picture_leave_the_others_as_they_were(captioner: Captioner) -> None:
    regions = [small_regions(f"{n}.jpg") for n in range(4)]
    free = list(captioner.caption_many(regions))
    asked = list(captioner.caption_many(regions, constraints={"2.jpg": ["草地"], "1.jpg": ["狗"]}))
    for n, (one, other) in enumerate(zip(free, asked, strict=True)):
        assert isinstance(one, Caption)
        assert isinstance(other, Caption)
        assert other.image_id == f"{n}.jpg"
        if n in (0, 3):
            assert other.text == one.text
            assert other.log_prob == pytest.approx(one.log_prob, abs=1e-4)
        else:
            assert {1: "狗", 2: "草地"}[n] in other.text


def test_words_that_cannot_be_written_are_refused_before_any_work(captioner: Captioner) -> None:
    with pytest.raises(ValueError, match="a.jpg: '龙' cannot be written: the model's vocab"):
        captioner.caption(small_regions("a.jpg"), constraints=["龙"])


def test_given_captions_score_what_the_search_gave_them(captioner: Captioner) -> None:
    regions = small_regions("a.jpg")
    found = captioner.caption(regions, n_best=3).alternatives
    scored = captioner.score(regions, [caption.text for caption in found])
    assert [caption.text for caption in scored] == [caption.text for caption in found]
    for one, other in zip(scored, found, strict=True):
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-4)
        assert one.score == pytest.approx(other.score, abs=1e-4)
    assert captioner.score(regions, []) == []


def test_a_character_outside_the_vocabulary_scores_as_unknown(captioner: Captioner) -> None:
    regions = small_regions("a.jpg")
    one, other = captioner.score(regions, ["\u9f98", "\u9750"])
    assert (one.text, other.text) == ("\u9f98", "\u9750")
    assert one.log_prob == other.log_prob
    captioner.model.cls.predictions.bias.data[captioner.tokenizer.unk_id] += 1
    assert captioner.score(regions, ["\u9f98"])[0].log_prob > one.log_prob


def test_a_caption_too_long_for_the_model_has_no_score(captioner: Captioner) -> None:
    longest = captioner.model.config.max_caption_pieces - 2
    text = "\u4e00" * (longest + 1)
    with pytest.raises(ValueError, match=f"has {longest + 1} pieces, .* reads at most {longest}: shorten it"):
        captioner.score(small_regions("a.jpg"), [text])


def test_constraints_are_refused_where_they_cannot_be_kept(captioner: Captioner) -> None:
    settings: dict[str, Any]
    for settings in ({"samples": 2}, {"rules": "original"}, {"beam_width": 4, "n_best": 2, "groups": 2}):
        with pytest.raises(ValueError, match="constraints are met by beams of our own rules alone"):
            captioner.caption(small_regions("a.jpg"), constraints=["狗"], **settings)


def test_what_is_drawn_depends_on_seed_and_picture_alone(captioner: Captioner) -> None:
    regions = [small_regions(f"{n}.jpg") for n in range(3)]
    settings = {"samples": 4, "temperature": 1.5}
    alone = [captioner.caption(picture, seed=7, **settings) for picture in regions]
    for batch_size in (2, 3):
        together = captioner.caption_many(regions, batch_size=batch_size, seed=7, **settings)
        for one, other in zip(alone, together, strict=True):
            assert isinstance(other, Caption)
            assert [a.text for a in one.alternatives] == [a.text for a in other.alternatives]
    assert len(alone[0].alternatives) == 4
    others = [captioner.caption(picture, seed=8, **settings) for picture in regions]
    assert [c.alternatives for c in alone] != [c.alternatives for c in others]


def test_a_forbidden_word_is_in_no_caption(captioner: Captioner) -> None:
    regions = small_regions("a.jpg")
    text = captioner.caption(regions, min_pieces=3).text
    word = text[:2]
    assert word in text
    for rules in ({}, {"samples": 20}):
        caption = captioner.caption(regions, forbidden=[word], min_pieces=3, **rules)
        assert all(word not in alternative.text for alternative in caption.alternatives)
    assert caption.text != text


def test_the_originals_rules_write_unknown_pieces_and_ours_do_not(captioner: Captioner) -> None:
    captioner.model.cls.predictions.bias.data[captioner.tokenizer.unk_id] = 100.0
    for settings in ({"beam_width": 1}, {"beam_width": 2}, {"samples": 2}):
        assert "[UNK]" in captioner.caption(small_regions("a.jpg"), rules="original", **settings).text
        assert "[UNK]" not in captioner.caption(small_regions("a.jpg"), **settings).text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_best": 4}, r"n_best must be beam_width \(3\) or less, got 4"),
        ({"groups": 2}, r"groups must divide beam_width \(3\) and n_best \(1\), got 2"),
        ({"min_pieces": 7}, r"min_pieces must be max_pieces \(6\) or less, got 7"),
        ({"top_p": 1.5}, "top_p must lie between 0 and 1, got 1.5"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"forbidden": ["a", " "]}, "forbidden holds an empty word"),
        ({"rules": "original", "no_repeat_ngram": 3}, "rules know no no_repeat_ngram: set no_repeat_ngram=0"),
    ],
)
def test_impossible_search_settings_are_refused_before_any_work(
    captioner: Captioner, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        captioner.caption(small_regions("a.jpg"), **settings)


def test_files_decoded_pictures_and_regions_mix_and_keep_their_order(
    captioner: Captioner, pictures: Path
) -> None:
    items = [
        small_regions("r.jpg"),
        pictures / "a.jpg",
        str(pictures / "broken.jpg"),
        Image.new("RGB", (5, 5)),
        small_regions("s.jpg"),
    ]
    found = list(captioner.caption_many(items, batch_size=3))
    assert [type(each).__name__ for each in found] == [
        "Caption",
        "Caption",
        "CaptionFailure",
        "Caption",
        "Caption",
    ]
    assert [each.image_id for each in found if isinstance(each, Caption)] == ["r.jpg", "a.jpg", "", "s.jpg"]
    failure = found[2]
    assert isinstance(failure, CaptionFailure)
    assert "not a picture in a known format" in failure.reason


def test_with_a_root_ids_are_the_paths_below_it(captioner: Captioner, pictures: Path) -> None:
    found = list(captioner.caption_many([Path("inner/b.jpg"), Path("broken.jpg")], root=pictures))
    assert [each.image_id for each in found] == ["inner/b.jpg", "broken.jpg"]


def test_one_broken_picture_raises_with_its_name(captioner: Captioner, pictures: Path) -> None:
    with pytest.raises(ImageError, match=r"broken\.jpg: not a picture"):
        captioner.caption(pictures / "broken.jpg")


def test_the_checkpoints_own_regions_file_is_accepted(captioner: Captioner, tmp_path: Path) -> None:
    captioner.check_store(RegionStore(write_small_store(tmp_path / "r.h5", ["a.jpg"])))


def test_regions_of_another_detector_are_refused_with_the_command_to_run(
    captioner: Captioner, tmp_path: Path
) -> None:
    other = replace(META, backend="torchvision", description={"weights_sha256": "1" * 64})
    store = RegionStore(write_small_store(tmp_path / "r.h5", ["a.jpg"], other))
    with pytest.raises(DetectorMismatch) as refused:
        captioner.check_store(store)
    message = str(refused.value)
    assert f"found:  torchvision, fingerprint {other.fingerprint[:12]}, width 8, vocabulary voc-20" in message
    assert f"wanted: mini, fingerprint {META.fingerprint[:12]}" in message
    command = (
        f"python -m features.extract --images 'my pictures' --out {tmp_path / 'r-mini.h5'} --backend mini"
    )
    assert message.endswith(command)


def test_the_same_detector_with_other_weights_is_refused(captioner: Captioner, tmp_path: Path) -> None:
    retrained = replace(META, description={"weights_sha256": "2" * 64})
    with pytest.raises(DetectorMismatch, match=retrained.fingerprint[:12]):
        captioner.check_store(RegionStore(write_small_store(tmp_path / "r.h5", ["a.jpg"], retrained)))


def test_regions_without_a_file_are_checked_by_width_and_whole_picture_vector(captioner: Captioner) -> None:
    good = small_regions("a.jpg")
    wide = replace(good, features=np.zeros((3, 9), np.float16))
    with pytest.raises(DetectorMismatch, match=r"a\.jpg: regions of width 9 with .* reads width 8"):
        captioner.caption(wide)
    with pytest.raises(DetectorMismatch, match=r"width 8 without a vector .* reads width 8 with one"):
        captioner.caption(replace(good, global_feature=None))


def test_a_detector_with_other_weights_than_the_checkpoints_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(SmallExtractor):
        fingerprint = "f" * 64

    monkeypatch.setattr("features.extract.RegionExtractor", lambda *_: Other())
    captioner = Captioner.from_pretrained(folder, device="cpu")
    with pytest.raises(DetectorMismatch, match="the one found here has ffffffffffff.*--weights FILE"):
        captioner.caption(Image.new("RGB", (5, 5)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "nowhere: no such checkpoint; give 'mini', a folder"),
        ("a/b/c", "a/b/c: no such checkpoint"),
        ("/no/such", "/no/such: no such checkpoint"),
    ],
)
def test_a_checkpoint_that_is_nowhere_says_what_can_be_given(name: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        checkpoint_folder(name)


def test_a_file_is_no_checkpoint(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"vocab\.txt: a file; a checkpoint is the folder"):
        checkpoint_folder(folder / "vocab.txt")


def test_a_hub_id_is_downloaded_and_its_absence_explained(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: str(folder))
    assert checkpoint_folder("someone/oscar-zh") == folder

    def offline(name: str, **_: object) -> str:
        raise OSError("no connection\nmore lines")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(
        CheckpointError, match=r"someone/oscar-zh: no folder of this name here.*: no connection$"
    ):
        checkpoint_folder("someone/oscar-zh")


def test_a_missing_accelerator_is_told_in_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="^device 'cuda' is not available here; choose from auto, "):
        Captioner.from_pretrained(folder, device="cuda")


def test_mini_is_package_data() -> None:
    assert mini_folder().parts[-3:] == ("examples", "mini", "captioner")


def test_the_terms_of_the_mini_weights_are_told_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say_licence.cache_clear()
    monkeypatch.setattr("captioning.places.mini_folder", lambda: folder)
    monkeypatch.setattr(captioner_module, "mini_folder", lambda: folder)
    Captioner.from_pretrained(device="cpu")
    Captioner.from_pretrained("mini", device="cpu")
    said = capsys.readouterr()
    assert said.err.count(MINI_LICENCE) == 1
    assert "non-commercial" in MINI_LICENCE
    assert said.out == ""
