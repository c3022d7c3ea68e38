"""Metrics that exist as Java programs only: finding Java and pycocoevalcap's jars, and running them.

A program gets all its input at once and is gone when its answer is here: nothing is left running, and no
full pipe can make both sides wait for each other.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

_STDERR_SHOWN = 600


class MetricUnavailable(ValueError):
    """A metric was asked for that cannot be computed here; the message says what to install, or why not."""


def jar(metric: str, name: str) -> Path:
    """A file of the package pycocoevalcap.

    Raises:
        MetricUnavailable: It is not there.
    """
    package = find_spec("pycocoevalcap")
    places = package.submodule_search_locations if package else None
    path = Path(next(iter(places or ["pycocoevalcap"]))) / metric / name
    if not path.is_file():
        raise MetricUnavailable(
            f"{metric.upper()} needs {path}, which is missing; install it again with "
            "`pip install --force-reinstall pycocoevalcap==1.2`, or leave this metric out"
        )
    return path


def find_java(metric: str) -> str:
    """The program ``java`` of ``$JAVA_HOME``, else of ``$PATH``.

    Raises:
        MetricUnavailable: There is none.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else None
    java = java or shutil.which("java")
    if java is None:
        raise MetricUnavailable(
            f"{metric} is a Java program and there is no `java` here. Install it (apt-get install "
            "default-jre-headless, brew install openjdk), or leave this metric out."
        )
    return java


def java_release(java: str) -> int:
    """8, 11, 17, …; 0 where the program does not tell."""
    try:
        ran = subprocess.run([java, "-version"], capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return 0
    found = re.search(rb'version "(?:1\.)?(\d+)', ran.stderr + ran.stdout)
    return int(found[1]) if found else 0


def run_jar(
    metric: str, path: Path, options: Sequence[str], *, memory: str, seconds: float, text: str = ""
) -> str:
    """Run a program to its end.

    Args:
        metric: What it computes, for messages.
        path: The jar. The program runs in its folder.
        options: After the jar's name.
        memory: Java's heap at most, as ``2G``.
        seconds: It is killed after this long.
        text: What it reads; UTF-8 whatever the locale.

    Returns:
        What it wrote to its standard output.

    Raises:
        MetricUnavailable: There is no Java.
        ChildProcessError: It failed; the end of what it wrote to standard error is in the message.
        TimeoutError: It took too long.
    """
    java = find_java(metric)
    command = [java, f"-Xmx{memory}", "-Dfile.encoding=UTF-8", "-Duser.language=en", "-jar", path.name]
    try:
        ran = subprocess.run(
            [*command, *options],
            cwd=path.parent,
            input=text.encode(),
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(
            f"{metric} gave no answer within {seconds:.0f} s and was stopped; score fewer pictures at a "
            "time, or leave this metric out"
        ) from error
    if ran.returncode:
        raise failure(metric, f"{java} ended with status {ran.returncode}", ran.stderr)
    return ran.stdout.decode()


def failure(metric: str, what: str, stderr: bytes | str = "") -> ChildProcessError:
    """The error of a program that went wrong, with the end of its own words."""
    words = stderr.decode(errors="replace") if isinstance(stderr, bytes) else stderr
    return ChildProcessError(f"{metric}: {what}. {words.strip()[-_STDERR_SHOWN:]}".strip())
