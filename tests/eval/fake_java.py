"""A program called java that does what a test wants."""

import sys
from pathlib import Path

import pytest


def fake_java(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str, release: str = "11.0.2") -> None:
    """Make `java` run some Python, in which ``arguments`` are those after ``java``.

    Args:
        folder: Where the program is put, the only one on PATH.
        monkeypatch: Of the test.
        body: Statements.
        release: What ``java -version`` tells.
    """
    program = folder / "java"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys, time\n"
        "arguments = sys.argv[1:]\n"
        f"if arguments == ['-version']: sys.exit('openjdk version \"{release}\"')\n"
        f"{body}\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(folder))
