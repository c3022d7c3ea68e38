"""The directions of docs/decisions.md: which part may import which, read from every file."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions

import pytest

from tests.imports import PACKAGES, ROOT, Import, imports_of, loaded_by, modules

ARROWS = {
    "oscar": (),
    "features": (),
    "captioning": (
        "oscar",
        "features.store",
        "features.tags",
        "features.arguments",
        "features.locks",
        "features.stop",
        "eval.annotations",
        "eval.cider",
        "eval.lines",
        "eval.matching",
        "eval.ngrams",
        "eval.problems",
        "eval.protocols",
        "eval.records",
        "eval.scorer",
        "eval.segmentation",
        "eval.shown",
    ),
    "eval": ("features.store", "features.tags", "features.draw", "features.images"),
    "app": (
        "captioning.captioner",
        "eval",
        "features.arguments",
        "features.store",
        "features.tags",
        "features.draw",
        "features.images",
    ),
    "examples": (),
    "tushuo": (),
}
"""A part -> what it may import beside itself.

Bulk captioning is sealed, shared and stopped as extraction is: which locks hold on which file system, and how
a signal ends a run, are answered once, in ``features.locks`` and ``features.stop`` (no torch, nothing of
pictures); how flags and YAML become settings, in ``features.arguments``.
"""
MORE_ARROWS = {
    "app.build": ("features.allocator",),
    "captioning.corpora": ("features.oscar_tsv",),
    "captioning.validate": ("features.images",),
    "captioning.captioner": ("features.extract", "features.images"),
    "captioning.sample_pictures": ("features.draw", "features.images"),
    "captioning.sources": ("features.images",),
    "captioning.doctor": ("features.draw", "features.weights"),
}
"""Single files that may import more."""
ONLY_WHEN_CALLED = {("captioning", "features.extract"), ("eval", "features"), ("app", "captioning")}
"""(importer, imported): within functions only, for what it costs to load."""
HEAVY = {"torch", "torchvision", "transformers", "timm", "accelerate"}
WITHOUT_TORCH = (
    "features.store",
    "features.tags",
    "features.locks",
    "features.stop",
    "features.images",
    "features.draw",
)


def every_import() -> list[Import]:
    return [found for module in modules() for found in imports_of(module)]


def within(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def is_ours(name: str) -> bool:
    return name.split(".")[0] in (*PACKAGES, "tushuo")


def test_every_part_has_files_and_arrows() -> None:
    assert {name.split(".")[0] for name in modules()} == set(ARROWS)


def test_every_import_follows_an_arrow() -> None:
    strays = [
        str(found)
        for found in every_import()
        if is_ours(found.imported)
        and not within(found.imported, found.importer.split(".")[0])
        and not any(
            within(found.imported, allowed)
            for allowed in (*ARROWS[found.importer.split(".")[0]], *MORE_ARROWS.get(found.importer, ()))
        )
    ]
    assert strays == []


def test_only_the_captioner_reaches_extraction() -> None:
    outside = {
        found.importer
        for found in every_import()
        if within(found.imported, "features.extract") and not within(found.importer, "features")
    }
    assert outside == {"captioning.captioner"}


def test_costly_parts_are_imported_within_functions() -> None:
    early = [
        str(found)
        for found in every_import()
        for importer, imported in ONLY_WHEN_CALLED
        if within(found.importer, importer) and within(found.imported, imported) and not found.lazy
    ]
    assert early == []


@pytest.mark.parametrize("module", sorted(name for name in modules() if within(name, "eval")))
def test_eval_never_loads_torch(module: str) -> None:
    assert loaded_by(module, lazily=True) & HEAVY == set()


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_the_border_of_features_never_loads_torch(module: str) -> None:
    assert loaded_by(module, lazily=True) & HEAVY == set()


@pytest.mark.parametrize("module", sorted(name for name in modules() if within(name, "app")))
def test_the_browser_opens_without_torch(module: str) -> None:
    assert loaded_by(module, lazily=False) & HEAVY == set()


def test_importing_all_of_eval_loads_no_torch_in_fact() -> None:
    names = [name for name in modules() if within(name, "eval")]
    program = f"import sys, {', '.join(names)}; print(sorted(set(sys.modules) & {HEAVY}))"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


def test_files_do_not_import_each_other_in_circles() -> None:
    graph = {
        module: {
            found.imported
            for found in imports_of(module)
            if found.imported in modules() and not found.lazy and found.imported != module
        }
        for module in modules()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}")


def test_imports_inside_a_part_name_the_file_and_are_absolute() -> None:
    vague = [
        str(found)
        for found in every_import()
        if found.imported.startswith(".") or found.imported == found.importer.split(".")[0]
    ]
    assert vague == []


def test_nothing_imports_bare_eval_which_would_hide_the_builtin() -> None:
    bare = [
        str(name)
        for name, path in modules().items()
        if re.search(r"^\s*import eval$", path.read_text(), re.M)
    ]
    assert bare == []


def test_nothing_is_called_utils() -> None:
    assert [name for name in modules() if re.search(r"util|helper|common|misc", name)] == []


def test_every_package_is_listed_in_setup_cfg() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = setup["options"]["packages"].split()
    assert sorted(listed) == sorted(name for name, path in modules().items() if path.name == "__init__.py")


def test_every_third_party_import_is_a_declared_dependency() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = setup["options.extras_require"]
    base = distributions(setup["options"]["install_requires"])
    declared = {
        "app": base | distributions(extras["app"]),
        "captioning.duplicates": base | distributions(extras["cleaning"]),
        "captioning.wandb_tracker": base | distributions(extras["wandb"]),
        "captioning.text_steps": base | distributions(extras["cleaning"]),
        "features.compression": base | distributions(extras["zstd"]),
        "features.ray_extract": base | distributions(extras["ray"]),
        "features.train_detector": base | distributions(extras["train-detector"]),
        # It is on no index: whoever has it installed it by its own ways.
        "features.backends.detectron2": base | distributions(extras["detectron2"]) | {"detectron2"},
        "features.backends.detectron2_model": base | distributions(extras["detectron2"]) | {"detectron2"},
    }
    of_module = packages_distributions()
    undeclared = [
        f"{found} (of {', '.join(of_module.get(top, ['no installed package']))})"
        for found in every_import()
        if (top := found.imported.split(".")[0]) not in sys.stdlib_module_names
        and not is_ours(top)
        and not {normal(name) for name in of_module.get(top, [top])}
        & next((names for part, names in declared.items() if within(found.importer, part)), base)
    ]
    assert undeclared == []


def distributions(requirements: str) -> set[str]:
    lines = [line.strip() for line in requirements.splitlines()]
    return {normal(re.split(r"[\[<>=!~; ]", line)[0]) for line in lines if line and not line.startswith("#")}


def normal(name: str) -> str:
    return name.lower().replace("_", "-")
