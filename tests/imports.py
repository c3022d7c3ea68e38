"""Every import of the project, read from the source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("oscar", "features", "captioning", "eval", "app", "examples")


@dataclass(frozen=True)
class Import:
    """One imported module: ``from a.b import c`` is a.b.c where that is a module, else a.b."""

    importer: str
    imported: str
    line: int
    lazy: bool
    """Inside a function or under TYPE_CHECKING: importing the file does not import it."""

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}: imports {self.imported}"


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, of every module that is shipped."""
    found = {"tushuo": ROOT / "tushuo.py"}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports_of(module: str) -> tuple[Import, ...]:
    """Every import of a module of the project, in functions too, by statement or ``import_module``."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    return tuple(_walk(tree, module, lazy=False))


def loaded_by(module: str, *, lazily: bool) -> set[str]:
    """Every module that importing ``module`` loads, parents and third-party names included.

    With ``lazily``, what its functions may load too.
    """
    loaded: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        for part in _with_parents(name):
            if part in loaded:
                continue
            loaded.add(part)
            if part in modules():
                waiting += [found.imported for found in imports_of(part) if lazily or not found.lazy]
    return loaded


def _walk(node: ast.AST, module: str, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            inside = True
        for name in _names(child):
            yield Import(module, name, getattr(child, "lineno", 0), inside)
        yield from _walk(child, module, inside)


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            yield "." * node.level + base
            return
        for name in dict.fromkeys(f"{base}.{alias.name}" for alias in node.names):
            yield name if name in modules() else base
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
        argument = node.args[0]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield argument.value


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: length + 1]) for length in range(len(parts))]
