"""detectron2 itself, installed beside the environment by ``make detectron2``."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

from tests.detectron2.originals import Original, write_original, zoo_config
from tests.imports import ROOT


@pytest.fixture(scope="session")
def detectron2_folder() -> Path:
    """Of the package, once it is imported."""
    asked_for = os.environ.get("TUSHUO_DETECTRON2")
    folder = ROOT / (asked_for or "build/detectron2")
    if not (folder / "installed").is_file():
        if asked_for:
            pytest.fail(f"TUSHUO_DETECTRON2 names {folder}, where no detectron2 is installed")
        pytest.skip("no detectron2 to compare with; `make detectron2` installs it")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.syspath_prepend(folder)  # only so long: other tests read what is installed
        warnings.filterwarnings("ignore", category=FutureWarning)  # torch's, of torch.jit.script
        import detectron2.data
        import detectron2.modeling  # noqa: F401
    return folder / "detectron2"


@pytest.fixture(scope="session")
def r50(detectron2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Original:
    return write_original(tmp_path_factory.mktemp("r50"), zoo_config(detectron2_folder, 50))


@pytest.fixture(scope="session")
def r101(detectron2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Original:
    return write_original(tmp_path_factory.mktemp("r101"), zoo_config(detectron2_folder, 101))


@pytest.fixture(scope="session")
def thin(detectron2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Original:
    """R50-C4 with an eighth of the channels inside its blocks: as good for most tests, and quick."""
    config = zoo_config(detectron2_folder, 50)
    config.MODEL.RESNETS.WIDTH_PER_GROUP = 8
    return write_original(tmp_path_factory.mktemp("thin"), config)
