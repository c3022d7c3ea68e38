"""Oscar's YAML files: captions that stay in their folder, and features by the command that is told."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import pytest

from captioning.oscar_yaml import looks_like_yaml
from captioning.records import import_commands, read_caption_file
from captioning.runs import prepare
from captioning.train import main as train_main
from captioning.training_data import open_regions
from features.export import main as export_main
from features.import_tsv import main as import_main
from features.store import RegionStore
from tests.captioning.corpus_files import LINES, write_corpus
from tests.captioning.small_captioner import META, small_regions, write_small_store
from tests.captioning.small_run import CAPTIONS, small_config

SETTINGS = """\
img: train.img.tsv
hw: train.hw.tsv
label: train.label.tsv
feature: train.feature.tsv
caption: train_caption.json
"""


def write_data_set(folder: Path, split: str = "train", pictures: list[str] | None = None) -> Path:
    """A captioning data set of Oscar with its features; the path of the YAML file."""
    pictures = list(CAPTIONS) if pictures is None else pictures
    write_small_store(folder / f"{split}.h5", pictures)
    assert export_main([str(folder / f"{split}.h5"), str(folder / f"{split}-tsv")]) == 0
    for kind in ("feature", "label", "hw"):
        (folder / f"{split}-tsv" / f"{kind}.tsv").rename(folder / f"{split}.{kind}.tsv")
    rows = [
        {"image_id": name, "id": number, "caption": text}
        for name in pictures
        for number, text in enumerate(CAPTIONS[name])
    ]
    (folder / f"{split}_caption.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    path = folder / f"{split}.yaml"
    path.write_text(SETTINGS.replace("train", split), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "caption: a.json\n",
        "\n# a comment: of two lines\n---\ncaption: a.json",
        "\ufeffcorpus:\n  x\n",
        "feature:\r\n",
        "x : 1",
    ],
)
def test_a_yaml_file_is_recognised_by_its_first_key(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").write_text(text, encoding="utf-8", newline="")
    assert looks_like_yaml(tmp_path / "a")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"a": 1}',
        "image_id,caption\na:b,c",
        "a.jpg#0\t狗: 一只",
        "image: 狗".replace(": ", ":"),
        "一只狗: 在跑",
        "\n" * 5_000 + "a: b",
    ],
)
def test_other_files_are_not(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").write_text(text, encoding="utf-8")
    assert not looks_like_yaml(tmp_path / "a")


def test_captions_are_those_of_the_file_that_is_named(tmp_path: Path) -> None:
    found = read_caption_file(write_data_set(tmp_path), "train")
    assert found.format == "oscar-captions"
    assert {record.image_id: list(record.captions) for record in found.records} == CAPTIONS
    assert found.notes == (f"{tmp_path / 'train.yaml'}: passes over the keys img",)


def test_captions_need_no_ids_of_their_own_where_a_yaml_file_names_them(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('[{"image_id": 1, "caption": "狗"}, {"image_id": 1, "caption": "猫"}]')
    (tmp_path / "a.yaml").write_text("caption: ./c.json\n")
    (record,) = read_caption_file(tmp_path / "a.yaml", "train").records
    assert record.captions == ("狗", "猫")


def test_the_command_that_is_told_makes_the_missing_regions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(tmp_path, validation=False)
    config.data.regions.unlink()
    (tmp_path / "data set").mkdir()
    train = write_data_set(tmp_path / "data set")
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, train=train))
    with pytest.raises(ValueError, match=r"make it of the features that come with the captions") as caught:
        open_regions(config)
    (command,) = str(caught.value).splitlines()[1:]

    names = tmp_path / "voc.txt"
    names.write_text("\n".join(META.vocabulary))
    python, flag, module, *words = shlex.split(command)
    assert (python, flag, module) == ("python", "-m", "features.import_tsv")
    assert words[words.index("--labels") + 1].endswith("data set/train.label.tsv")
    assert import_main([*words, "--vocabulary", str(names)]) == 0
    with RegionStore(config.data.regions) as store:
        assert store.image_ids == sorted(CAPTIONS)
        assert (store.regions("a.jpg").features == small_regions("a.jpg").features).all()


def test_several_feature_files_are_read_together_from_a_folder(tmp_path: Path) -> None:
    train = write_data_set(tmp_path, pictures=["a.jpg", "b.jpg"])
    validation = write_data_set(tmp_path, "val", pictures=["c.jpg"])
    names = tmp_path / "voc-20.txt"
    names.write_text("\n".join(META.vocabulary))
    config = small_config(tmp_path)
    config.data.regions.unlink()
    data = dataclasses.replace(config.data, train=train, validation=validation)
    with pytest.raises(ValueError, match=rf"give --data\.regions {tmp_path / 'regions'}:\n") as caught:
        open_regions(dataclasses.replace(config, data=data))
    for command in str(caught.value).splitlines()[1:]:
        assert import_main([*shlex.split(command)[3:], "--vocabulary", str(names)]) == 0

    data = dataclasses.replace(data, regions=tmp_path / "regions")
    run = prepare(dataclasses.replace(config, data=data))
    assert [record.image_id for record in run.training.records] == ["a.jpg", "b.jpg"]
    assert run.validation is not None
    assert [record.image_id for record in run.validation.records] == ["c.jpg"]
    assert f"training: {train}: passes over the keys img" in run.notes
    assert "training: 1 pictures of the regions file have no captions in this split: c.jpg" in run.notes


def test_training_tells_the_command_in_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write_data_set(tmp_path)
    flags = [
        "--data.train",
        str(train),
        "--data.validation",
        "null",
        "--data.regions",
        str(tmp_path / "x.h5"),
    ]
    assert train_main([*flags, "--out", str(tmp_path / "run")]) == 1
    assert f"python -m features.import_tsv {tmp_path}/train.feature.tsv {tmp_path}/x.h5 --detector NAME" in (
        capsys.readouterr().err
    )


def test_each_data_set_and_chunk_of_a_corpus_has_a_command(tmp_path: Path) -> None:
    path = write_corpus(tmp_path)
    for chunk in ("0", "11"):
        (tmp_path / "features" / "googlecc" / chunk).mkdir(parents=True)
        (tmp_path / "features" / "googlecc" / chunk / "features.tsv").touch()

    def command(features: str, data_set: str, out: str) -> str:
        return (
            f"python -m features.import_tsv {tmp_path}/features/{features}/features.tsv {out} "
            f"--detector NAME --labels {tmp_path}/labels/{data_set}/predictions_gt.tsv"
        )

    assert import_commands([path], Path("r.h5")) == [
        command("coco", "coco", "r/coco.h5"),
        command("gqa", "gqa", "r/gqa.h5"),
        command("googlecc/0", "googlecc", "r/googlecc-0.h5"),
        command("googlecc/11", "googlecc", "r/googlecc-11.h5"),
    ]
    assert import_commands([Path(f"{path}#gqa")], Path("r.h5")) == [command("gqa", "gqa", "r.h5")]


def test_files_without_features_have_no_command(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("caption: c.json\n")
    (tmp_path / "broken.yaml").write_text("caption: [\n")
    (tmp_path / "a.json").write_text("[]")
    paths = [tmp_path / name for name in ("a.yaml", "broken.yaml", "a.json", "none.json")]
    assert import_commands(paths, Path("r.h5")) == []


def test_a_corpus_and_imported_regions_train_together(tmp_path: Path) -> None:
    path = write_corpus(tmp_path, lines=[line for line in LINES if line[0].startswith("coco")])
    config = small_config(tmp_path, objective="pretrain", validation=False, captions=CAPTIONS)
    write_small_store(tmp_path / "coco.h5", ["42", "7", "8"])
    data = dataclasses.replace(config.data, train=path, regions=tmp_path / "coco.h5")
    run = prepare(dataclasses.replace(config, data=data))
    assert [record.image_id for record in run.training.records] == ["42", "7"]
    assert run.training.records[0].second(2) is not None
