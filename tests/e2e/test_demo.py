"""The commands of the README, word for word, on the samples, in a folder of their own."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from features.store import RegionStore

ROOT = Path(__file__).resolve().parents[2]
N_SAMPLES = 34


def blocks(language: str, page: str = "README.md") -> list[str]:
    """The code blocks of a page."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def readme_command(module: str) -> list[str]:
    """The one README command that runs ``module``, as words."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    (found,) = [
        line for line in lines if line.startswith(f"python -m {module} ") or line == f"python -m {module}"
    ]
    return shlex.split(found)


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a README command in ``folder`` with this Python and the checkout's modules."""
    assert words[0] == "python"
    return subprocess.run(
        [sys.executable, *words[1:]],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the samples and the configs, in which the commands run one after the other."""
    folder = tmp_path_factory.mktemp("newcomer")
    shutil.copytree(ROOT / "examples" / "images", folder / "examples" / "images")
    shutil.copytree(ROOT / "configs", folder / "configs")
    yield folder


@pytest.fixture(scope="module")
def extracted(folder: Path) -> Path:
    """The folder after the README's extract command."""
    ran = run(readme_command("features.extract"), folder)
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.fixture(scope="module")
def captioned(extracted: Path) -> Path:
    """The folder after the README's extract and caption commands."""
    ran = run(readme_command("captioning.caption"), extracted)
    assert ran.returncode == 0, ran.stderr
    return extracted


def test_extract_finds_regions_in_every_sample(extracted: Path) -> None:
    with RegionStore(extracted / "build/demo/regions.h5") as store:
        assert len(store) == N_SAMPLES
        assert store.failed == {}
        assert store.regions("000000165518.jpg").features.shape[1] == store.feature_dim == 1280


def test_extracting_again_does_nothing_and_leaves_the_same_bytes(extracted: Path) -> None:
    regions = extracted / "build/demo/regions.h5"
    before = regions.read_bytes()
    ran = run(readme_command("features.extract"), extracted)
    assert ran.returncode == 0, ran.stderr
    assert regions.read_bytes() == before


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_samples_of_training_are_good_and_have_regions(extracted: Path, page: str) -> None:
    (command,) = re.findall(r"`(python -m captioning\.validate [^`]+)`", (ROOT / page).read_text("utf-8"))
    ran = run(shlex.split(command), extracted)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("examples/images/captions_train.json (aic-icc): 12 pictures, ")
    assert ran.stdout.endswith("nothing has to be put right\n")


def test_training_without_arguments_lowers_the_loss_and_leaves_a_checkpoint(extracted: Path) -> None:
    ran = run(readme_command("captioning.train"), extracted)
    assert ran.returncode == 0, ran.stderr
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    losses = [event["loss"] for event in events if event["event"] == "step"]
    assert len(losses) >= 5
    assert losses[-1] < losses[0] / 2
    assert list((extracted / "build/mini-run").rglob("model.safetensors"))


def test_the_bundled_captioner_writes_a_chinese_caption_for_every_sample(captioned: Path) -> None:
    rows = json.loads((captioned / "build/demo/captions.json").read_text(encoding="utf-8"))
    assert len(rows) == N_SAMPLES
    for row in rows:
        assert re.search(r"[\u4e00-\u9fff]{3}", row["caption"]), row
        assert " " not in row["caption"] or re.search(r"[A-Za-z0-9]", row["caption"]), row
    assert len({row["caption"] for row in rows}) > N_SAMPLES / 2, "the captions hardly look at the pictures"


def test_captions_from_the_regions_file_are_those_from_the_pictures(captioned: Path) -> None:
    words = [
        "python",
        "-m",
        "captioning.caption",
        "--features",
        "build/demo/regions.h5",
        "--out",
        "again.json",
    ]
    ran = run(words, captioned)
    assert ran.returncode == 0, ran.stderr
    texts = [
        {
            row["image_id"]: row["caption"]
            for row in json.loads((captioned / name).read_text(encoding="utf-8"))
        }
        for name in ("build/demo/captions.json", "again.json")
    ]
    assert texts[0] == texts[1]


def test_eval_prints_the_scores_and_writes_the_report(captioned: Path) -> None:
    ran = run(readme_command("eval"), captioned)
    assert ran.returncode == 0, ran.stderr
    for metric in ("BLEU-4", "ROUGE-L", "CIDEr"):
        assert metric.lower() in ran.stdout.lower()
    assert "19" in ran.stdout
    report = (captioned / "build/demo/report.html").read_text(encoding="utf-8")
    assert "000000165518.jpg" in report


def test_the_five_lines_of_python_print_a_caption_and_its_tags(folder: Path) -> None:
    program, _ = blocks("python")
    ran = run(["python", "-c", program], folder)
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"[\u4e00-\u9fff]{3}", ran.stdout)
    assert "'人'" in ran.stdout  # a rider in the fog: the detector finds the person


def test_the_lines_that_score_a_caption_print_the_score_and_its_segmenter(folder: Path) -> None:
    _, program = blocks("python")
    ran = run(["python", "-c", program], folder)
    assert ran.returncode == 0, ran.stderr
    assert re.match(r"0\.\d+ jieba 0\.42\.1, dict\.txt sha256 ", ran.stdout)


def test_the_chinese_readme_has_the_same_commands() -> None:
    def commands(page: str) -> list[str]:
        lines = "".join(blocks("bash", page) + blocks("python", page)).splitlines()
        return [line.split("#")[0].strip() for line in lines]

    assert commands("README.md") == commands("README.zh-CN.md")


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make: apt-get install make")
@pytest.mark.parametrize("module", ["features.extract", "captioning.train", "captioning.caption"])
def test_make_demo_gives_its_commands_options_that_they_know(module: str) -> None:
    environment_without_make = {
        name: value for name, value in environment().items() if not name.startswith("MAKE")
    }
    recipe = subprocess.run(
        ["make", "--dry-run", "demo"],
        cwd=ROOT,
        env=environment_without_make,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = recipe.stdout.replace("\\\n", " ").splitlines()
    (line,) = [line for line in lines if f"-m {module} " in line]
    ran = run(["python", *shlex.split(line)[1:], "--print_config"], ROOT)
    assert ran.returncode == 0, ran.stderr
