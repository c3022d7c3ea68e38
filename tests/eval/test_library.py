"""What ``from eval import …`` offers."""

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

package = importlib.import_module("eval")


def test_the_example_of_the_package_is_true() -> None:
    assert doctest.testmod(package) == doctest.TestResults(failed=0, attempted=8)


def test_every_name_offered_is_there() -> None:
    assert [name for name in package.__all__ if not hasattr(package, name)] == []
    assert dir(package) == sorted(package.__all__)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="no attribute 'blue'; it offers METRICS, PROTOCOLS"):
        package.blue  # noqa: B018


def test_importing_the_package_loads_nothing() -> None:
    program = (
        "import sys, eval; ours = [name for name in sys.modules if name.startswith('eval.')]; "
        "print(ours, {'numpy', 'json'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[] set()\n"
