"""``python -m captioning.doctor``: what this machine has, what is missing, and the cure for each.

Every line is one check. A check that something needed has failed makes the exit code 1; the others only
cost a feature, which the line names.
"""

from __future__ import annotations

import configparser
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from argparse import ArgumentParser  # the doctor starts where nothing is installed
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Status = Literal["ok", "missing", "failed"]
"""``missing`` costs a feature; ``failed`` stops the program from working."""

LEAST_FREE_GB = 2.0
"""Regions of 10,000 pictures take 1 GB with the mini detector; a training run keeps a few checkpoints."""
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One finding."""

    name: str
    status: Status
    found: str
    cure: str = ""
    """A command or a sentence; empty where nothing is wrong."""


def main(argv: list[str] | None = None) -> int:
    """Run every check, print the table; 0 where all that is needed is there, else 1."""
    parser = ArgumentParser(prog="python -m captioning.doctor", description="Check this machine.")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(argv)
    checks = run_checks()
    if arguments.json:
        print(json.dumps([asdict(check) for check in checks], ensure_ascii=False, indent=1))
    else:
        print(table(checks))
    return 1 if any(check.status == "failed" for check in checks) else 0


def run_checks() -> list[Check]:
    """Every check in the order of the table; a check that itself breaks is a failed check."""
    checks = []
    for check in CHECKS:
        try:
            checks += check()
        except Exception as error:  # the doctor must finish its round whatever a broken package does
            name = check.__name__.removeprefix("check_").replace("_", " ")
            found = f"{type(error).__name__}: {error}".splitlines()[0]
            checks.append(
                Check(name=name, status="failed", found=found, cure="pip install --force-reinstall tushuo")
            )
    return checks


def table(checks: Sequence[Check]) -> str:
    """The findings as aligned lines, each followed by its cure."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.status:<8}{check.name:<{width}}  {check.found}")
        if check.cure:
            lines.append(f"{'':<8}{'':<{width}}  -> {check.cure}")
    failed = sum(check.status == "failed" for check in checks)
    missing = sum(check.status == "missing" for check in checks)
    lines.append("")
    lines.append(
        f"{failed} needed thing{'s' * (failed != 1)} failed, {missing} optional missing"
        if failed or missing
        else "All is well."
    )
    return "\n".join(lines)


def check_platform() -> list[Check]:
    """Python and the machine."""
    python = platform.python_version()
    found = f"Python {python}, {platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    return [Check(name="python", status="ok", found=found)]


def check_packages() -> list[Check]:
    """Installed packages against the floors that this package itself declares."""
    from packaging.requirements import Requirement

    requirements = [Requirement(line) for line in _declared()]
    return [
        _check_package(r.name, str(r.specifier), r.specifier.contains)
        for r in requirements
        if r.marker is None
    ] + [
        _check_package(r.name, str(r.specifier), r.specifier.contains, extra="app")
        for r in requirements
        if r.marker is not None
        and r.marker.evaluate({"extra": "app"})
        and not r.marker.evaluate({"extra": ""})
    ]


def _declared() -> list[str]:
    """Requirements of the installed package, or of the checkout that the program runs from."""
    try:
        return importlib.metadata.requires("tushuo") or []
    except importlib.metadata.PackageNotFoundError:
        setup = configparser.ConfigParser()
        with (Path(__file__).parents[1] / "setup.cfg").open(encoding="utf-8") as file:
            setup.read_file(file)
        extra = setup["options.extras_require"]["app"].split("\n")
        lines = setup["options"]["install_requires"].split("\n")
        return [*filter(None, lines), *(f'{line}; extra == "app"' for line in extra if line)]


def _check_package(name: str, wanted: str, fits: Callable[[str], bool], extra: str = "") -> Check:
    lacking: Status = "missing" if extra else "failed"
    target = f"tushuo[{extra}]" if extra else "tushuo"
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Check(
            name=name, status=lacking, found=f"not installed, wanted {wanted}", cure=f"pip install '{target}'"
        )
    if not fits(found.split("+")[0]):
        return Check(
            name=name,
            status="failed",
            found=f"{found}, wanted {wanted}",
            cure=f"pip install '{name}{wanted}'",
        )
    return Check(name=name, status="ok", found=found)


def check_torchvision_operators() -> list[Check]:
    """Whether torch and torchvision were made for each other: their compiled ``nms`` runs."""
    name = "torch and torchvision"
    try:
        import torch
        from torchvision.ops import nms

        boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [20.0, 20.0, 30.0, 30.0]])
        kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist()
    except (ImportError, RuntimeError) as error:
        found = f"their operators do not load together: {str(error).splitlines()[0]}"
        cure = "pip install --force-reinstall torch torchvision (one index, releases of one month)"
        return [Check(name=name, status="failed", found=found, cure=cure)]
    if kept != [0, 2]:
        return [
            Check(
                name=name,
                status="failed",
                found=f"nms keeps boxes {kept}, wanted [0, 2]",
                cure="reinstall both",
            )
        ]
    return [Check(name=name, status="ok", found="nms runs")]


def check_accelerator() -> list[Check]:
    """What ``--device auto`` takes, and the precision that is fastest there."""
    import torch

    from captioning.precision import choose_precision, pick_device

    device = pick_device("auto")
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory / 2**30
        found = f"{torch.cuda.get_device_name(device)}, {memory:.0f} GB"
    elif device.type == "mps":
        found = "the GPU of this Mac"
    else:
        found = f"none; the processor with {torch.get_num_threads()} threads"
    precision = choose_precision("auto", device)
    return [
        Check(name="accelerator", status="ok", found=found),
        Check(name="precision", status="ok", found=f"{precision.name} ({precision.reason})"),
    ]


def check_mini_weights() -> list[Check]:
    """The bundled detector and captioner."""
    from captioning.places import mini_folder

    folder = mini_folder()
    wanted = (folder.parent / "detector.safetensors", folder / "model.safetensors")
    absent = [path for path in wanted if not path.is_file()]
    if absent:
        cure = "pip install --force-reinstall tushuo (or take them from the repository's examples/mini)"
        return [Check(name="mini weights", status="failed", found=f"not found: {absent[0]}", cure=cure)]
    size = sum(path.stat().st_size for path in wanted) / 1e6
    return [
        Check(
            name="mini weights",
            status="ok",
            found=f"{folder.parent}, {size:.0f} MB (non-commercial use only)",
        )
    ]


def check_detector_weights() -> list[Check]:
    """Weights that are downloaded on demand, into torch's own cache."""
    return [_check_weights("c4"), _check_weights("torchvision")]


def _check_weights(backend: str) -> Check:
    from features.weights import REGISTRY

    entries = {name: entry for name, entry in REGISTRY.items() if entry.backend == backend}
    whole = [name for name, entry in entries.items() if not entry.missing]
    if whole:
        return Check(name=f"{backend} weights", status="ok", found=", ".join(whole))
    begun = next((name for name, entry in entries.items() if entry.path.is_file()), None)
    best = begun or next(iter(entries))
    absent = ", ".join(file.file_name for file in entries[best].missing)
    size, quality = entries[best].size_mb, entries[best].quality
    cure = (
        f"python -m features.extract --backend {backend} --weights {best} downloads what is missing "
        f"(weights: {size:g} MB, {quality}); or --weights FILE, {' or '.join(entries)}"
    )
    return Check(
        name=f"{backend} weights",
        status="missing",
        found=f"{begun} without {absent}" if begun else f"none in {entries[best].path.parent}",
        cure=cure,
    )


def check_detectron2() -> list[Check]:
    """The package detectron2; only ``--backend detectron2`` runs it."""
    spec = importlib.util.find_spec("detectron2")
    if spec is not None:
        return [Check(name="detectron2", status="ok", found=str(spec.origin))]
    clone = "https://github.com/facebookresearch/detectron2"
    cure = (
        f"only --backend detectron2 needs it: pip install 'tushuo[detectron2]' and put a clone of {clone} on "
        "PYTHONPATH (nothing is compiled), or install it as its INSTALL.md says. Its COCO C4 weights need "
        "neither: --backend c4 reads them"
    )
    return [Check(name="detectron2", status="missing", found="not installed", cure=cure)]


def check_font() -> list[Check]:
    """A font with Chinese characters, for pictures with drawn tags."""
    from features.draw import cjk_font

    font = cjk_font()
    if font is not None:
        return [Check(name="Chinese font", status="ok", found=str(font))]
    cure = "apt-get install fonts-wqy-zenhei (macOS has one); until then drawn tags are English"
    return [Check(name="Chinese font", status="missing", found="none", cure=cure)]


def check_java() -> list[Check]:
    """A Java runtime; only METEOR and, up to release 14, SPICE need it."""
    java = shutil.which("java")
    if java is not None:
        ran = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
        if ran.returncode == 0:
            return [Check(name="Java", status="ok", found=(ran.stderr or ran.stdout).splitlines()[0])]
    found = "none" if java is None else f"{java} does not run"
    return [
        Check(
            name="Java",
            status="missing",
            found=found,
            cure="apt-get install default-jre-headless (METEOR only)",
        )
    ]


def check_disk() -> list[Check]:
    """Free space where output goes by default: the working folder."""
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    found = f"{free:.1f} GB free in {Path.cwd()}"
    if free < LEAST_FREE_GB:
        return [
            Check(
                name="disk",
                status="missing",
                found=found,
                cure="free some space, or give --out on another disk",
            )
        ]
    return [Check(name="disk", status="ok", found=found)]


def check_browser() -> list[Check]:
    """Chromium; only the browser test drives it."""
    path = next((path for path in map(shutil.which, CHROMIUM_NAMES) if path is not None), None)
    if path is not None:
        return [Check(name="Chromium", status="ok", found=path)]
    return [
        Check(
            name="Chromium",
            status="missing",
            found="none",
            cure="apt-get install chromium (browser test only)",
        )
    ]


CHECKS: tuple[Callable[[], list[Check]], ...] = (
    check_platform,
    check_packages,
    check_torchvision_operators,
    check_accelerator,
    check_mini_weights,
    check_detector_weights,
    check_detectron2,
    check_font,
    check_java,
    check_disk,
    check_browser,
)
"""In the order of the table."""


if __name__ == "__main__":
    sys.exit(main())
