from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path

import pytest
import torch

import captioning.doctor as doctor
from captioning.doctor import Check, main, table
from features.weights import REGISTRY

Usage = namedtuple("Usage", "total used free")


def found(check: Check) -> str:
    return f"{check.status}: {check.found} -> {check.cure}"


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No check but those a test puts in."""
    monkeypatch.setattr(doctor, "CHECKS", ())
    return monkeypatch


def put(only: pytest.MonkeyPatch, *checks: Check) -> None:
    only.setattr(doctor, "CHECKS", (lambda: list(checks),))


def test_all_well_is_exit_code_0(only: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    put(only, Check(name="python", status="ok", found="3.11"))
    assert main([]) == 0
    assert capsys.readouterr().out.splitlines() == ["ok      python  3.11", "", "All is well."]


def test_what_is_optional_does_not_change_the_exit_code(only: pytest.MonkeyPatch) -> None:
    put(only, Check(name="Java", status="missing", found="none", cure="install it"))
    assert main([]) == 0


def test_what_is_needed_and_failed_is_exit_code_1(
    only: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(only, Check(name="torch", status="failed", found="1.0", cure="pip install torch"))
    assert main([]) == 1
    assert "-> pip install torch" in capsys.readouterr().out


def test_json_holds_every_finding(only: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    put(only, Check(name="字体", status="missing", found="none", cure="cure"))
    main(["--json"])
    assert json.loads(capsys.readouterr().out) == [
        {"name": "字体", "status": "missing", "found": "none", "cure": "cure"}
    ]


def test_a_check_that_breaks_is_a_failed_check_and_the_round_goes_on(only: pytest.MonkeyPatch) -> None:
    def check_broken_thing() -> list[Check]:
        raise ZeroDivisionError("what\never")

    only.setattr(doctor, "CHECKS", (check_broken_thing, lambda: [Check(name="b", status="ok", found="")]))
    checks = doctor.run_checks()
    assert [check.status for check in checks] == ["failed", "ok"]
    assert (checks[0].name, checks[0].found) == ("broken thing", "ZeroDivisionError: what")


def test_columns_line_up_and_losses_are_counted() -> None:
    lines = table(
        [
            Check(name="a", status="failed", found="x", cure="c"),
            Check(name="long name", status="missing", found="y", cure="d"),
        ]
    ).splitlines()
    assert lines[0].index("x") == lines[2].index("y")
    assert lines[-1] == "1 needed thing failed, 1 optional missing"


def packages(monkeypatch: pytest.MonkeyPatch, declared: list[str], installed: dict[str, str]) -> list[Check]:
    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "requires", lambda _: declared)
    monkeypatch.setattr(importlib.metadata, "version", version)
    return doctor.check_packages()


def test_packages_are_held_against_the_declared_floors(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = packages(
        monkeypatch,
        [
            "torch!=2.13.0,>=2.10",
            "pillow>=12.2",
            "h5py>=3",
            'streamlit>=1.54; extra == "app"',
            'pytest; extra == "dev"',
        ],
        {"torch": "2.13.0+cpu", "pillow": "12.2", "pytest": "1"},
    )
    assert {check.name: check.status for check in checks} == {
        "torch": "failed",
        "pillow": "ok",
        "h5py": "failed",
        "streamlit": "missing",
    }
    assert (
        found(checks[0]) == "failed: 2.13.0+cpu, wanted !=2.13.0,>=2.10 -> pip install 'torch!=2.13.0,>=2.10'"
    )
    assert checks[3].cure == "pip install 'tushuo[app]'"


def test_a_checkout_that_is_not_installed_is_held_against_its_setup_cfg(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def requires(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    names = {check.name for check in doctor.check_packages()}
    assert {"torch", "pillow", "streamlit"} <= names
    assert "pytest" not in names


def test_an_old_streamlit_is_a_failure_and_not_just_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    (check,) = packages(monkeypatch, ['streamlit>=1.54; extra == "app"'], {"streamlit": "1.50"})
    assert check.status == "failed"


def test_the_pair_of_torch_and_torchvision_runs_its_operators() -> None:
    (check,) = doctor.check_torchvision_operators()
    assert found(check) == "ok: nms runs -> "


def test_a_pair_that_does_not_match_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def nms(*_: object) -> torch.Tensor:
        raise RuntimeError("operator torchvision::nms does not exist\ntrace")

    monkeypatch.setattr("torchvision.ops.nms", nms)
    (check,) = doctor.check_torchvision_operators()
    assert check.status == "failed"
    assert check.found.endswith("operator torchvision::nms does not exist")
    assert "pip install --force-reinstall torch torchvision" in check.cure


def test_the_precision_is_measured_and_named() -> None:
    names = {check.name: check.found for check in doctor.check_accelerator()}
    assert names["precision"].startswith(("fp32 (", "bf16 ("))


def test_missing_mini_weights_are_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("captioning.places.mini_folder", lambda: tmp_path / "mini" / "captioner")
    (check,) = doctor.check_mini_weights()
    assert check.status == "failed"
    assert check.found == f"not found: {tmp_path / 'mini' / 'detector.safetensors'}"


def test_present_mini_weights_come_with_their_terms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "captioner").mkdir()
    (tmp_path / "detector.safetensors").write_bytes(bytes(2_000_000))
    (tmp_path / "captioner" / "model.safetensors").write_bytes(b"")
    monkeypatch.setattr("captioning.places.mini_folder", lambda: tmp_path / "captioner")
    (check,) = doctor.check_mini_weights()
    assert found(check) == f"ok: {tmp_path}, 2 MB (non-commercial use only) -> "


def download(name: str, *, lists: bool = True) -> None:
    """Weights of the registry, as if they had been downloaded."""
    entry = REGISTRY[name]
    entry.path.parent.mkdir(parents=True, exist_ok=True)
    for file in entry.missing if lists else [entry]:
        file.path.touch()


def test_detector_weights_are_found_in_torchs_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    c4, torchvision = doctor.check_detector_weights()
    assert (c4.status, torchvision.status) == ("missing", "missing")
    assert c4.found == f"none in {tmp_path / 'checkpoints'}"
    assert "--backend c4 --weights vinvl_vg_x152c4 downloads what is missing (weights: 593 MB, " in c4.cure
    assert "or --weights FILE, vinvl_vg_x152c4 or frcnn-vg-finetuned or " in c4.cure
    assert "--weights fasterrcnn_resnet50_fpn_v2 downloads what is missing (weights: 167" in torchvision.cure
    download("faster_rcnn_R_50_C4_3x")
    download("fasterrcnn_resnet50_fpn")
    assert [found(check) for check in doctor.check_detector_weights()] == [
        "ok: faster_rcnn_R_50_C4_3x -> ",
        "ok: fasterrcnn_resnet50_fpn -> ",
    ]


def test_weights_without_their_class_list_are_missing_just_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    download("frcnn-vg-finetuned", lists=False)
    c4, _ = doctor.check_detector_weights()
    assert c4.found == "frcnn-vg-finetuned without objects_vocab.txt, attributes_vocab.txt"
    assert "--weights frcnn-vg-finetuned downloads what is missing" in c4.cure
    download("frcnn-vg-finetuned")
    assert found(doctor.check_detector_weights()[0]) == "ok: frcnn-vg-finetuned -> "


def test_without_detectron2_its_ways_of_installation_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (check,) = doctor.check_detectron2()
    assert check.status == "missing"
    assert "clone of https://github.com/facebookresearch/detectron2 on PYTHONPATH" in check.cure
    assert "INSTALL.md" in check.cure
    assert "--backend c4 reads them" in check.cure


def test_detectron2_is_named_by_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "detectron2").mkdir()
    (tmp_path / "detectron2" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert found(doctor.check_detectron2()[0]) == f"ok: {tmp_path / 'detectron2' / '__init__.py'} -> "


def test_without_a_chinese_font_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.draw.cjk_font", lambda: None)
    (check,) = doctor.check_font()
    assert check.status == "missing"
    assert "apt-get install fonts-wqy-zenhei" in check.cure


def test_java_that_does_not_run_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/false")
    (check,) = doctor.check_java()
    assert found(check).startswith("missing: /bin/false does not run -> apt-get install")


def test_java_that_runs_is_named_by_its_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "java")
    ran = subprocess.CompletedProcess([], 0, stdout="", stderr='openjdk version "17"\nmore')
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ran)
    assert doctor.check_java()[0].found == 'openjdk version "17"'


def test_a_nearly_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, 10**9))
    (check,) = doctor.check_disk()
    assert check.status == "missing"
    assert check.found.startswith("1.0 GB free")


def test_without_chromium_the_browser_test_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "apt-get install chromium" in doctor.check_browser()[0].cure
