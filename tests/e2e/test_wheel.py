"""The wheel, in an empty environment outside the checkout, captions a picture with what it requires alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.imports import ROOT, modules

PACKAGES = ("oscar", "features", "captioning", "eval", "app")
PICTURE = ROOT / "examples" / "images" / "000000165518.jpg"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the locked setuptools from a copy, so that no file of an earlier build gets in."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in (*PACKAGES, "examples"):
        leave_out = shutil.ignore_patterns("__pycache__", "images")
        shutil.copytree(ROOT / name, source / name, ignore=leave_out)
    for name in ("setup.cfg", "pyproject.toml", "tushuo.py", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    ran = subprocess.run(
        [*build, "--wheel-dir", str(out), str(source)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    (path,) = out.glob("tushuo-*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that holds the wheel and the packages it requires, and nothing else.

    The packages are linked from the environment of the tests: a copy of torch is 5 GB.
    """
    home = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, cwd=home, check=True, timeout=300, env=environment())
    lookup = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(lookup, capture_output=True, text=True, check=True).stdout.strip())
    (metadata,) = site.glob("tushuo-*.dist-info")
    link_requirements(Distribution.at(metadata), site)
    return python


def environment() -> dict[str, str]:
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in hidden} | {"HF_HUB_OFFLINE": "1"}


def link_requirements(root: Distribution, site: Path) -> None:
    """Link into ``site`` every package that ``root`` requires, without extras it did not ask for."""
    waiting: list[tuple[Distribution, frozenset[str]]] = [(root, frozenset())]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        package, extras = waiting.pop()
        if (package.name, extras) in seen:
            continue
        seen.add((package.name, extras))
        for requirement in map(Requirement, package.requires or []):
            marker = requirement.marker
            if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
                continue
            try:
                required = distribution(requirement.name)
            except PackageNotFoundError:
                pytest.fail(f"{package.name} requires {requirement}, which is not installed here")
            waiting.append((required, frozenset(requirement.extras)))
    for name in {name for name, _ in seen} - {root.name}:
        required = distribution(name)
        for top in {file.parts[0] for file in required.files or [] if file.parts[0] != ".."}:
            source, link = Path(str(required.locate_file(top))), site / top
            if not link.exists() and source.exists() and top != "__pycache__":
                link.symlink_to(source)


def test_the_wheel_holds_code_and_mini_models_and_no_tests_or_pictures(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {*PACKAGES, "examples", "tushuo.py"}
    assert [name for name in names if name.endswith((".jpg", ".png", ".h5"))] == []
    needed = {
        "examples/mini/LICENSE",
        "examples/mini/DETECTOR.md",
        "examples/mini/detector.json",
        "examples/mini/detector.safetensors",
        "examples/mini/captioner/README.md",
        "examples/mini/captioner/manifest.json",
        "examples/mini/captioner/model.safetensors",
        "examples/mini/captioner/vocab.txt",
        "features/lexicons/voc-20.tsv",
    }
    assert needed - set(names) == set()


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    missing = [
        str(path.relative_to(ROOT))
        for package in (*PACKAGES, "examples/mini")
        for path in sorted((ROOT / package).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and str(path.relative_to(ROOT)) not in names
    ]
    assert missing == []


def test_the_installed_wheel_finds_all_that_it_requires(python: Path, tmp_path: Path) -> None:
    ran = subprocess.run(
        [str(python), "-m", "pip", "check"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "tushuo" not in ran.stdout, ran.stdout


def test_every_file_but_the_browser_can_be_imported_with_the_smallest_install(
    python: Path, tmp_path: Path
) -> None:
    names = [name for name in modules() if name.split(".")[0] != "app"]
    program = f"import importlib\nfor name in {names}: importlib.import_module(name)"
    ran = subprocess.run(
        [str(python), "-c", program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr


def test_the_installed_wheel_captions_a_picture(python: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / PICTURE.name).write_bytes(PICTURE.read_bytes())
    command = [str(python.parent / "tushuo"), "caption", "--images", "pictures", "--out", "captions.json"]
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    (row,) = json.loads((tmp_path / "captions.json").read_text(encoding="utf-8"))
    assert row["image_id"] == PICTURE.name
    assert re.search(r"[\u4e00-\u9fff]{3}", row["caption"])


def test_the_installed_wheel_does_not_come_from_the_checkout(python: Path, tmp_path: Path) -> None:
    program = "import captioning.captioner; print(captioning.captioner.__file__)"
    ran = subprocess.run(
        [str(python), "-c", program],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(ran.stdout.strip()).is_relative_to(python.parent.parent)
    assert not Path(ran.stdout.strip()).is_relative_to(ROOT)
    without_app = subprocess.run(
        [str(python), "-c", "import streamlit"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        check=False,
    )
    assert without_app.returncode == 1, "streamlit belongs to the extra 'app'; the base environment has it"
